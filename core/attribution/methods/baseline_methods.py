"""Methods that compare the image with a baseline, and share the difference of the logit out among the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from core.attribution.method import AttributionRequest, Method, completeness_gap, with_progress
from core.attribution.methods.gradients import TOGETHER
from core.attribution.networks import needs_known_nonlinearities

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_DOUBLINGS = 3
"""Of Integrated Gradients' steps."""
USUAL = 4
"""Steps that it takes in the end, in its first ones: a mean over test images of CIFAR-10."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IntegratedGradients(Method):
    """Gradients along the straight way from the baseline to the image. Source: Sundararajan et al., arXiv:1703.01365."""

    name: ClassVar[str] = "integrated_gradients"
    title: ClassVar[str] = "Integrated Gradients"
    family: ClassVar[str] = "reference"
    signed: ClassVar[bool] = True
    sums_to: ClassVar[str] = "rise"
    uses_baseline: ClassVar[bool] = True
    summary: ClassVar[str] = "What each pixel adds to the logit on the way from the baseline to the image."
    how_to_read: ClassVar[str] = (
        "One colour supports the class, the other speaks against it; all values sum to the logit's rise over the baseline."
    )
    caveat: ClassVar[str] = "Pixels as the baseline's get nothing: with black, the black cat on black stays blank."
    paper: ClassVar[tuple[str, str]] = ("Sundararajan et al., arXiv:1703.01365", "https://arxiv.org/abs/1703.01365")

    steps: int = 50
    """Points on the way. Twice as many are taken, up to three times over, until the completeness gap is small enough."""
    max_gap: float = 0.01
    """Completeness gap at which that ends, as a share of the logit's rise: 0.01 is 1%; 1 takes the steps as they are."""

    def __post_init__(self) -> None:
        self.check("steps", 2, 2000)
        self.check_number("max_gap", 0.0001, 1)

    def passes(self, side: int) -> tuple[int, int]:
        usual = self.steps if self.max_gap == 1 else USUAL * self.steps
        return usual, usual

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        import torch
        from captum.attr import IntegratedGradients as Captum

        tries = [self.steps << doubled for doubled in range(1 if self.max_gap == 1 else 1 + MOST_DOUBLINGS)]
        forward = with_progress(model, question, sum(tries))
        rise = 0.0
        if len(tries) > 1:
            with torch.no_grad():
                image, base = model(torch.cat([question.inputs, question.baseline]))[:, question.target].tolist()
            rise = image - base
        for steps in tries:
            found = Captum(forward).attribute(
                question.inputs,
                baselines=question.baseline,
                target=question.target,
                n_steps=steps,
                internal_batch_size=min(steps, TOGETHER),
            )
            total = float(found.detach().sum(dtype=torch.float64))
            if len(tries) > 1 and completeness_gap(total, rise) <= self.max_gap:
                break
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepLift(Method):
    """Differences of activations to those of the baseline. Source: Shrikumar, Greenside & Kundaje, arXiv:1704.02685."""

    name: ClassVar[str] = "deeplift"
    title: ClassVar[str] = "DeepLift"
    family: ClassVar[str] = "reference"
    signed: ClassVar[bool] = True
    sums_to: ClassVar[str] = "rise"
    uses_baseline: ClassVar[bool] = True
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "How each pixel's difference to the baseline moves the logit, layer by layer (rescale rule)."
    )
    how_to_read: ClassVar[str] = "As Integrated Gradients, in one pass: one colour supports, the other speaks against."
    caveat: ClassVar[str] = (
        "It takes each ReLU for a straight line from baseline to image, and another baseline gives another map."
    )
    paper: ClassVar[tuple[str, str]] = ("Shrikumar et al., arXiv:1704.02685", "https://arxiv.org/abs/1704.02685")

    def passes(self, side: int) -> tuple[int, int]:
        return 2, 2

    def refusal(self, model: nn.Module) -> str | None:
        return needs_known_nonlinearities(model, self.title)

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import DeepLift as Captum

        return Captum(model).attribute(question.inputs, baselines=question.baseline, target=question.target)


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientShap(Method):
    """Expected gradients: Integrated Gradients with random points and noise. Source: Lundberg & Lee, arXiv:1705.07874."""

    name: ClassVar[str] = "gradient_shap"
    title: ClassVar[str] = "GradientSHAP"
    family: ClassVar[str] = "reference"
    signed: ClassVar[bool] = True
    sums_to: ClassVar[str] = "rise"
    uses_baseline: ClassVar[bool] = True
    random: ClassVar[bool] = True
    summary: ClassVar[str] = "Gradients at random points between baseline and image, times their difference, averaged."
    how_to_read: ClassVar[str] = (
        "As Integrated Gradients, by random sampling: one colour supports, the other speaks against."
    )
    caveat: ClassVar[str] = "With few samples two seeds give two maps: look at the completeness gap."
    paper: ClassVar[tuple[str, str]] = ("Lundberg & Lee, arXiv:1705.07874", "https://arxiv.org/abs/1705.07874")

    samples: int = 20
    """Random points."""
    noise: float = 0.1
    """Standard deviation of the noise added to the image, in the network's units (a channel's own is 1)."""

    def __post_init__(self) -> None:
        self.check("samples", 1, 250)
        self.check_number("noise", 0, 2)

    def passes(self, side: int) -> tuple[int, int]:
        return self.samples, self.samples

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        import torch
        from captum.attr import GradientShap as Captum

        shap = Captum(with_progress(model, question, self.samples))
        total = torch.zeros_like(question.inputs)
        # Captum takes the mean of all samples in one pass: a few at a time, one after the other, are the same mean.
        for done in range(0, self.samples, TOGETHER):
            count = min(TOGETHER, self.samples - done)
            total += (
                count
                * shap.attribute(
                    question.inputs,
                    baselines=question.baseline,
                    target=question.target,
                    n_samples=count,
                    stdevs=self.noise,
                ).detach()
            )
        return total / self.samples
