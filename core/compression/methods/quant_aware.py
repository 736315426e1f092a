"""Training with 8-bit rounding in the forward pass, so that the weights learn to live with it.

Gradients pass the rounding as if it were not there, within the range (straight-through). Ranges of what goes into a layer
are running means of each batch's extremes. Source: Jacob et al., arXiv:1712.05877, section 3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoints.packing import WEIGHT_LIMIT

LEVELS = 255
RANGE_MOMENTUM = 0.05
"""Share of a new batch in the running range."""
SMALLEST_RANGE = 1e-6


class FakeQuantize:
    """Makes the convolutions and linear layers of a model compute on rounded inputs and weights, in place; its parameters,
    and so its state dict, stay what they are."""

    def __init__(self, model: nn.Module) -> None:
        self.ranges: dict[str, Tensor] = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.forward = self._forward(name, module)  # type: ignore[method-assign, assignment]

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.ranges)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.ranges = dict(state)

    def _forward(self, name: str, module: nn.Conv2d | nn.Linear) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            inputs = fake_quantize_inputs(x, self._range(name, x, module.training))
            weight = fake_quantize_weights(module.weight)
            if isinstance(module, nn.Linear):
                return F.linear(inputs, weight, module.bias)
            return module._conv_forward(inputs, weight, module.bias)

        return forward

    @torch.no_grad()
    def _range(self, name: str, x: Tensor, training: bool) -> Tensor:
        """Lowest and highest input, (2,), zero among them."""
        known = self.ranges.get(name)
        if known is not None and not training:
            return known
        now = torch.stack([x.amin().clamp(max=0), x.amax().clamp(min=0)])
        found = now if known is None else known.lerp(now, RANGE_MOMENTUM)
        if training:
            self.ranges[name] = found
        return found


def fake_quantize_inputs(x: Tensor, limits: Tensor) -> Tensor:
    """x on 256 evenly spaced values between two limits, zero among them. limits: (2,), around zero."""
    scale = ((limits[1] - limits[0]) / LEVELS).clamp(min=SMALLEST_RANGE)
    zero = (-limits[0] / scale).round().clamp(0, LEVELS)
    return torch.fake_quantize_per_tensor_affine(x, scale.float(), zero.to(torch.int32), 0, LEVELS)


def fake_quantize_weights(weight: Tensor) -> Tensor:
    """(out, ...) on 255 values for each output, symmetric around zero: its scale is its largest weight / 127."""
    scale = (weight.detach().flatten(1).abs().amax(1) / WEIGHT_LIMIT).clamp(min=SMALLEST_RANGE / WEIGHT_LIMIT)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -WEIGHT_LIMIT, WEIGHT_LIMIT)
