"""Which pixels of the input a unit depends on, by the recursion over kernels, strides and paddings, also past residual sums.

The network's own forward pass is followed with spans in place of tensors: each layer widens them. For a window of k values,
stride s, padding p and dilation d after units that lie j pixels apart: jump j·s, first pixel −p·j, last + (d·(k − 1) − p)·j.
Source: Araujo et al., Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
"""

from __future__ import annotations

import copy
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True, slots=True)
class Span:
    """Unit i along one axis depends on pixels first + i·jump to last + i·jump, as far as the image goes."""

    first: float = 0.0
    last: float = 0.0
    jump: float = 1.0
    rule: str = ""
    """How the last window made it, with its numbers; empty before the first, past a sum, and where the window adds parts of
    a pixel, as on an enlarged input: `size` counts whole ones."""
    side: int = 0
    """Of the network's input, which only an enlarging layer needs; that comes first."""

    @property
    def size(self) -> float:
        """Pixels; infinite for a layer that sees the whole image."""
        return math.floor(self.last - self.first) + 1 if math.isfinite(self.last) else math.inf

    def pixels(self, unit: int, side: int) -> tuple[int, int]:
        """First and last pixel of one unit in an image of `side`: (0, side - 1) where it sees all."""
        if not math.isfinite(self.last):
            return 0, side - 1
        first, last = self.first + unit * self.jump, self.last + unit * self.jump
        return max(0, math.ceil(first)), min(side - 1, math.floor(last))

    def through(self, module: nn.Module) -> Span:
        """What a unit of a layer's output depends on."""
        window = _window(module)
        if window:
            k, s, p, d = window
            first, last = self.first - p * self.jump, self.last + (d * (k - 1) - p) * self.jump
            whole = math.isfinite(self.size) and (d * (k - 1) * self.jump).is_integer()
            rule = f"{self.size:g} + {d}·({k} − 1)·{self.jump:g}" if whole else ""
            return Span(first, last, self.jump * s, rule)
        if isinstance(module, nn.ZeroPad2d):
            return Span(
                self.first - module.padding[0] * self.jump, self.last - module.padding[0] * self.jump, self.jump
            )
        if isinstance(module, nn.Upsample):  # bilinear: of output i the two pixels around (i + 0.5)·ratio − 0.5
            ratio = self.side / module.size[0]  # type: ignore[index]
            centre, reach = 0.5 * ratio - 0.5, 1 - 1e-6
            return Span(centre - reach, centre + reach, ratio, side=self.side)
        if isinstance(module, nn.Linear | nn.AdaptiveAvgPool2d):
            return Span(-math.inf, math.inf, 0.0)
        return self

    def __add__(self, other: Any) -> Span:
        """Of a sum, a product or another operation on pairs of units; a number or a weight changes nothing."""
        if not isinstance(other, Span):
            return self
        return Span(min(self.first, other.first), max(self.last, other.last), self.jump)

    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __add__

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Span:
        """Functions that a network calls outside of layers: all there are here flatten."""
        return Span(-math.inf, math.inf, 0.0)


def spans(model: nn.Module, side: int) -> dict[str, Span]:
    """Layer -> what its units depend on, in the order in which the network computes, as far as there are maps and a network
    from elsewhere can be followed.

    model: a classifier of images of `side`.
    """
    found: dict[str, Span] = {}
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    model = copy.deepcopy(model, shared)
    for name, module in list(model.named_modules()):
        if name and not list(module.children()):
            model.set_submodule(name, _Follower(name, module, found))
    with suppress(_Flattened, AttributeError, TypeError):  # the last two where it does what no span can
        model(Span(side=side))
    return found


class _Flattened(Exception):
    """There are no maps from here on."""


class _Follower(nn.Module):
    """Stands in a layer's place, and notes what came out of it."""

    def __init__(self, name: str, module: nn.Module, found: dict[str, Span]) -> None:
        super().__init__()
        self.name, self.found = name, found
        self.layer = (module,)  # not a child of this one

    def forward(self, span: Span) -> Span:
        if isinstance(self.layer[0], nn.Flatten):
            raise _Flattened
        self.found[self.name] = after = span.through(self.layer[0])
        return after


def _window(module: nn.Module) -> tuple[int, int, int, int] | None:
    """Kernel, stride, padding, dilation along one axis (all networks here have square ones); None for other layers."""
    from core.models.pooling import Blur, Subsample

    if isinstance(module, Subsample):
        return 1, module.stride, 0, 1
    if isinstance(module, Blur):
        return module.kernel_size, module.stride, module.padding, 1
    if not isinstance(module, WINDOWS):
        return None
    values: Any = (module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
    k, s, p, d = (value[0] if isinstance(value, tuple) else value for value in values)
    return int(k), int(s), int(p), int(d)
