"""Methods that only ask the network: they cover parts of the image with the baseline and watch the logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from core.attribution.method import AttributionRequest, Method, with_progress
from core.attribution.methods.gradients import TOGETHER
from core.attribution.methods.superpixels import SEGMENTATIONS, segments
from core.common.errors import LabError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Occlusion(Method):
    """Fall of the logit when a sliding square is covered. Source: Zeiler & Fergus, arXiv:1311.2901."""

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    family: ClassVar[str] = "perturbation"
    signed: ClassVar[bool] = True
    channels: ClassVar[bool] = False
    uses_baseline: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "How far the logit falls when a small square is covered, averaged over the squares on a pixel."
    )
    how_to_read: ClassVar[str] = "One colour: covering it hurts the class; the other: covering it helps."
    caveat: ClassVar[str] = (
        "A covered square is itself something the network reacts to, and larger ones tell another story."
    )
    paper: ClassVar[tuple[str, str]] = ("Zeiler & Fergus, arXiv:1311.2901", "https://arxiv.org/abs/1311.2901")

    window: int = 4
    """Side of the square, pixels."""
    stride: int = 2
    """How far it moves, pixels; no more than its side, or pixels would be left out."""

    def __post_init__(self) -> None:
        self.check("window", 1, 64)
        self.check("stride", 1, self.window)

    def passes(self, side: int) -> tuple[int, int]:
        places = 1 + -(-max(0, side - self.window) // self.stride)
        return 1 + places**2, 0

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import Occlusion as Captum

        inputs = question.inputs
        if self.window > inputs.shape[-1]:
            raise LabError(
                f"window={self.window} is not valid for {self.name}: the image is {inputs.shape[-1]} pixels wide."
            )
        return Captum(with_progress(model, question, self.passes(inputs.shape[-1])[0])).attribute(
            inputs,
            sliding_window_shapes=(inputs.shape[1], self.window, self.window),
            strides=(inputs.shape[1], self.stride, self.stride),
            baselines=question.baseline,
            target=question.target,
            perturbations_per_eval=TOGETHER,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Superpixels(Method):
    """Of methods that cover whole superpixels."""

    family: ClassVar[str] = "perturbation"
    signed: ClassVar[bool] = True
    channels: ClassVar[bool] = False
    uses_baseline: ClassVar[bool] = True

    superpixels: str = "slic"
    """How the image is cut: `slic`, along its colours, or `grid`, into squares."""
    cells: int = 64
    """Superpixels, about so many."""

    def _check_cells(self) -> None:
        self.check("cells", 4, 256)
        if self.superpixels not in SEGMENTATIONS:
            raise LabError(
                f"superpixels={repr(self.superpixels)[:60]} is not valid: choose one of {', '.join(SEGMENTATIONS)}."
            )

    def _mask(self, question: AttributionRequest) -> Tensor:
        return segments(question.inputs, self.superpixels, self.cells)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureAblation(_Superpixels):
    """Fall of the logit when one superpixel is covered. Source: captum.attr.FeatureAblation; SLIC: Achanta et al. 2012."""

    name: ClassVar[str] = "feature_ablation"
    title: ClassVar[str] = "Feature Ablation"
    summary: ClassVar[str] = "How far the logit falls when one superpixel is covered."
    how_to_read: ClassVar[str] = "One colour: the class needs this piece; the other: it does better without."
    caveat: ClassVar[str] = "Pieces that can stand in for each other all look useless, because only one goes at a time."
    paper: ClassVar[tuple[str, str]] = (
        "Captum; superpixels: Achanta et al., doi:10.1109/TPAMI.2012.120",
        "https://doi.org/10.1109/TPAMI.2012.120",
    )

    def __post_init__(self) -> None:
        self._check_cells()

    def passes(self, side: int) -> tuple[int, int]:
        return 1 + self.cells, 0

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import FeatureAblation as Captum

        mask = self._mask(question)
        return Captum(with_progress(model, question, 1 + int(mask.max()) + 1)).attribute(
            question.inputs,
            baselines=question.baseline,
            target=question.target,
            feature_mask=mask,
            perturbations_per_eval=TOGETHER,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fitted(_Superpixels):
    """Of methods that fit a straight line to the logit of copies in which random superpixels are covered."""

    random: ClassVar[bool] = True

    samples: int = 400
    """Copies with random superpixels covered."""

    def __post_init__(self) -> None:
        self._check_cells()
        self.check("samples", 10, 20_000)

    def passes(self, side: int) -> tuple[int, int]:
        return self.samples, 0

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        return self._captum()(with_progress(model, question, self.samples)).attribute(
            question.inputs,
            baselines=question.baseline,
            target=question.target,
            feature_mask=self._mask(question),
            n_samples=self.samples,
            perturbations_per_eval=TOGETHER,
        )

    def _captum(self) -> Any:
        """Captum's class."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelShap(_Fitted):
    """Shapley values of superpixels by weighted regression. Source: Lundberg & Lee, arXiv:1705.07874."""

    name: ClassVar[str] = "kernel_shap"
    title: ClassVar[str] = "KernelSHAP"
    summary: ClassVar[str] = "A superpixel's fair share of the answer: its mean effect over random sets of the others."
    how_to_read: ClassVar[str] = (
        "One colour supports the class, the other speaks against; the shares sum to the whole rise."
    )
    caveat: ClassVar[str] = "Few samples give noisy shares: another seed, another map."
    paper: ClassVar[tuple[str, str]] = ("Lundberg & Lee, arXiv:1705.07874", "https://arxiv.org/abs/1705.07874")

    def _captum(self) -> Any:
        from captum.attr import KernelShap

        return KernelShap


@dataclass(frozen=True, kw_only=True, slots=True)
class Lime(_Fitted):
    """A sparse straight line fitted around the image. Source: Ribeiro, Singh & Guestrin, arXiv:1602.04938."""

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    summary: ClassVar[str] = "The weights of a straight line (lasso) fitted to the logit of randomly covered copies."
    how_to_read: ClassVar[str] = (
        "Coloured superpixels explain the most in the line's eyes; those without colour were left out."
    )
    caveat: ClassVar[str] = (
        "The line fits only near the image, and how near is a choice, here Captum's: another one, another map."
    )
    paper: ClassVar[tuple[str, str]] = ("Ribeiro et al., arXiv:1602.04938", "https://arxiv.org/abs/1602.04938")

    def _captum(self) -> Any:
        from captum.attr import Lime

        return Lime
