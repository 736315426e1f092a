"""What every attribution method has in common: what it is called, what it measures, what it costs. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from core.common.errors import LabError
from core.common.values import finite

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[float], None]
"""Called with the share done, 0..1; may raise to stop the work."""


def no_progress(share: float) -> None:
    """Where nobody watches."""


Unlocked = Callable[[], AbstractContextManager[None]]
"""Within it, nothing may be drawn from the global random generators, and others may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributionRequest:
    """What a method is asked: why this class, for this image?"""

    inputs: Tensor
    """(1, 3, H, W) float32, normalised as the network takes it; of one view, without test-time augmentation."""
    target: int
    """Index of the class whose logit is explained."""
    baseline: Tensor
    """(1, 3, H, W): the image with nothing in it, for methods that compare with one."""
    seed: int
    on_progress: Progress = no_progress
    unlocked: Unlocked = nullcontext
    """Entered while the network computes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """Base of all methods; the fields of one are its settings. Raises LabError with the valid range for any outside it."""

    name: ClassVar[str]
    """What the command line and an address call it."""
    title: ClassVar[str]
    family: ClassVar[str]
    """`gradient`, `reference` (compares with a baseline), `activation`, `attention`, `perturbation` or `relevance`."""
    signed: ClassVar[bool]
    """Whether a map tells what speaks against the class from what supports it; else its values are at least 0."""
    channels: ClassVar[bool] = True
    """Whether it has a value for each colour channel of a pixel; else the three are equal, and are the pixel's value."""
    is_gradient: ClassVar[bool] = False
    """Whether values are slopes (change of the logit per unit of input), not shares of the answer."""
    sums_to: ClassVar[str] = ""
    """What all its values should sum to: `rise` (the logit's difference between image and baseline), `logit`, or nothing."""
    uses_baseline: ClassVar[bool] = False
    random: ClassVar[bool] = False
    """Whether it depends on the seed."""
    quick: ClassVar[bool] = False
    """Whether it needs a handful of passes: shown without being asked for."""
    summary: ClassVar[str]
    """The first of three sentences for "What am I looking at?": what it measures."""
    how_to_read: ClassVar[str]
    """The second: how to read the map."""
    caveat: ClassVar[str]
    """The third: where it misleads."""
    paper: ClassVar[tuple[str, str]]
    """Authors and identifier, address."""

    @property
    def is_contribution(self) -> bool:
        """Whether its sign says for or against the class: such a map has a second score, that of its signed order."""
        return self.signed and not self.is_gradient

    def passes(self, side: int) -> tuple[int, int]:
        """Cost for an image of that side: passes through the network forward, and of those how many backward too."""
        raise NotImplementedError

    def refusal(self, model: nn.Module) -> str | None:
        """Why this network cannot be explained so, in one sentence; None where it can."""
        return None

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        """(1, 3, H, W) float32, as Captum gives it. May hook modules of `model`, which is a copy for that purpose."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def check(self, name: str, low: int, high: int) -> None:
        """Raises LabError where a setting is no whole number of that range."""
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise LabError(
                f"{name}={repr(value)[:60]} is not valid for {self.name}: it must be a whole number from {low} to {high:,}."
            )

    def check_number(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not finite(value) or not low <= value <= high:
            raise LabError(
                f"{name}={repr(value)[:60]} is not valid for {self.name}: it must be a number from {low:g} to {high:g}."
            )


def with_progress(model: nn.Module, question: AttributionRequest, total: int) -> Callable[[Tensor], Any]:
    """The network, telling after each call how much of `total` passes is done; what listens may stop the work."""
    done = 0

    def forward(inputs: Tensor) -> Any:
        nonlocal done
        with question.unlocked():
            logits = model(inputs)
        done += len(inputs)
        question.on_progress(min(1.0, done / total))
        return logits

    return forward


def completeness_gap(total: float, wanted: float) -> float:
    """How far the sum of a map's values misses what they should sum to, as a share of that."""
    return abs(total - wanted) / max(abs(wanted), 1e-6)
