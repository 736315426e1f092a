"""Methods that read the gradient of the logit alone: they need no baseline and a pass or a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from core.attribution.method import AttributionRequest, Method, with_progress
from core.attribution.networks import needs_relu

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Saliency(Method):
    """|d logit / d input|. Source: Simonyan, Vedaldi & Zisserman, arXiv:1312.6034."""

    name: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
    family: ClassVar[str] = "gradient"
    signed: ClassVar[bool] = False
    is_gradient: ClassVar[bool] = True
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = "How strongly the class's logit reacts to a tiny change of each pixel."
    how_to_read: ClassVar[str] = "Strong colour: the answer is touchy here; the map does not tell for or against."
    caveat: ClassVar[str] = "It tells what would change the answer a little, not what made it, and is noisy."
    paper: ClassVar[tuple[str, str]] = ("Simonyan et al., arXiv:1312.6034", "https://arxiv.org/abs/1312.6034")

    def passes(self, side: int) -> tuple[int, int]:
        return 1, 1

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import Saliency as Captum

        return Captum(model).attribute(question.inputs, target=question.target, abs=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class InputXGradient(Method):
    """Input times gradient. Source: Shrikumar et al., arXiv:1605.01713."""

    name: ClassVar[str] = "input_x_gradient"
    title: ClassVar[str] = "Input × Gradient"
    family: ClassVar[str] = "gradient"
    signed: ClassVar[bool] = True
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "The gradient times the pixel itself: what each pixel adds, were the network a straight line."
    )
    how_to_read: ClassVar[str] = "One colour supports the class, the other speaks against it."
    caveat: ClassVar[str] = "Grey pixels, which are 0 for the network, get no colour however much they matter."
    paper: ClassVar[tuple[str, str]] = ("Shrikumar et al., arXiv:1605.01713", "https://arxiv.org/abs/1605.01713")

    def passes(self, side: int) -> tuple[int, int]:
        return 1, 1

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import InputXGradient as Captum

        return Captum(model).attribute(question.inputs, target=question.target)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothGrad(Method):
    """Mean of |gradient| over noisy copies. Source: Smilkov et al., arXiv:1706.03825."""

    name: ClassVar[str] = "smoothgrad"
    title: ClassVar[str] = "SmoothGrad"
    family: ClassVar[str] = "gradient"
    signed: ClassVar[bool] = False
    is_gradient: ClassVar[bool] = True
    random: ClassVar[bool] = True
    summary: ClassVar[str] = "The mean saliency of noisy copies of the image."
    how_to_read: ClassVar[str] = "As saliency, with less of its noise: strong colour where the answer is touchy."
    caveat: ClassVar[str] = (
        "Noisy copies are images that training never showed; the smoother map is not more true for that."
    )
    paper: ClassVar[tuple[str, str]] = ("Smilkov et al., arXiv:1706.03825", "https://arxiv.org/abs/1706.03825")

    samples: int = 20
    """Noisy copies."""
    noise: float = 0.15
    """Standard deviation of the noise, as a share of the range of the image's values."""

    def __post_init__(self) -> None:
        self.check("samples", 1, 1000)
        self.check_number("noise", 0.001, 2)

    def passes(self, side: int) -> tuple[int, int]:
        return self.samples, self.samples

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import NoiseTunnel
        from captum.attr import Saliency as Captum

        inputs = question.inputs
        spread = float((inputs.max() - inputs.min()).detach())
        return NoiseTunnel(Captum(with_progress(model, question, self.samples))).attribute(
            inputs,
            nt_type="smoothgrad",
            nt_samples=self.samples,
            nt_samples_batch_size=min(self.samples, TOGETHER),
            stdevs=max(self.noise * spread, 1e-6),
            target=question.target,
            abs=True,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidedBackprop(Method):
    """Gradient with negative parts cut at each ReLU. Source: Springenberg et al., arXiv:1412.6806."""

    name: ClassVar[str] = "guided_backprop"
    title: ClassVar[str] = "Guided Backprop"
    family: ClassVar[str] = "gradient"
    signed: ClassVar[bool] = True
    is_gradient: ClassVar[bool] = True
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = "The gradient, keeping at each ReLU only what supports what comes after."
    how_to_read: ClassVar[str] = (
        "Crisp outlines: the details that excite the network's features; blue where brighter raises the logit, else vermillion."
    )
    caveat: ClassVar[str] = (
        "It nearly redraws the image's edges whatever the class, also with weights at random (Adebayo et al., "
        "arXiv:1810.03292)."
    )
    paper: ClassVar[tuple[str, str]] = ("Springenberg et al., arXiv:1412.6806", "https://arxiv.org/abs/1412.6806")

    def passes(self, side: int) -> tuple[int, int]:
        return 1, 1

    def refusal(self, model: nn.Module) -> str | None:
        return needs_relu(model, self.title)

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import GuidedBackprop as Captum

        return Captum(model).attribute(question.inputs, target=question.target)


TOGETHER = 25
"""Copies of an image that go through the network at once: bounds memory, and is as fast as more."""
