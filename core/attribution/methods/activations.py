"""Methods that look at the feature maps of a convolution: coarse, and about the place rather than the pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from core.attribution.method import AttributionRequest, Method
from core.attribution.networks import convolutions, feature_map, needs_relu
from core.common.errors import LabError

if TYPE_CHECKING:
    from torch import Tensor, nn


def _refusal(model: nn.Module, layer: str, title: str) -> str | None:
    names = convolutions(model)
    if not names:
        return f"{title} needs feature maps of a convolution, and this network has none."
    if layer and layer not in names:
        return f"{title} knows no layer {str(layer)[:60]!r} here: choose one of {', '.join(names)}."
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class GradCam(Method):
    """Feature maps weighted by their mean gradient, negative parts cut. Source: Selvaraju et al., arXiv:1610.02391."""

    name: ClassVar[str] = "grad_cam"
    title: ClassVar[str] = "Grad-CAM"
    family: ClassVar[str] = "activation"
    signed: ClassVar[bool] = False
    channels: ClassVar[bool] = False
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "Where the feature maps of one layer, weighted by how much the class likes each, are active."
    )
    how_to_read: ClassVar[str] = (
        "Strong colour: this area of the layer's map supports the class; one square is one of its cells."
    )
    caveat: ClassVar[str] = (
        "It is as coarse as the layer (a cell is several pixels wide), and a smooth image of it would be invented."
    )
    paper: ClassVar[tuple[str, str]] = ("Selvaraju et al., arXiv:1610.02391", "https://arxiv.org/abs/1610.02391")

    layer: str = ""
    """Convolution whose feature maps are taken; empty: the last one before the classifier."""

    def passes(self, side: int) -> tuple[int, int]:
        return 1, 1

    def refusal(self, model: nn.Module) -> str | None:
        return _refusal(model, self.layer, self.title)

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        import torch.nn.functional as F
        from captum.attr import LayerGradCam

        found = LayerGradCam(model, feature_map(model, self.layer)).attribute(
            question.inputs, target=question.target, relu_attributions=True
        )  # (1, 1, h, w)
        # Nearest: each cell of the layer is shown as the block of pixels that it is, no detail is invented.
        return F.interpolate(found, question.inputs.shape[-2:], mode="nearest").expand(question.inputs.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidedGradCam(Method):
    """Guided Backprop times Grad-CAM. Source: Selvaraju et al., arXiv:1610.02391."""

    name: ClassVar[str] = "guided_grad_cam"
    title: ClassVar[str] = "Guided Grad-CAM"
    family: ClassVar[str] = "activation"
    signed: ClassVar[bool] = True
    is_gradient: ClassVar[bool] = True
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = "Guided Backprop's outlines, kept only where Grad-CAM is active."
    how_to_read: ClassVar[str] = "Fine lines within the area that supports the class."
    caveat: ClassVar[str] = "The lines are Guided Backprop's, which come from the image more than from the network."
    paper: ClassVar[tuple[str, str]] = ("Selvaraju et al., arXiv:1610.02391", "https://arxiv.org/abs/1610.02391")

    layer: str = ""
    """Convolution whose feature maps are taken; empty: the last one before the classifier."""

    def passes(self, side: int) -> tuple[int, int]:
        return 2, 2

    def refusal(self, model: nn.Module) -> str | None:
        return needs_relu(model, self.title) or _refusal(model, self.layer, self.title)

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import GuidedGradCam as Captum

        found = Captum(model, feature_map(model, self.layer)).attribute(question.inputs, target=question.target)
        if found.shape != question.inputs.shape:  # Captum's answer to sizes that it cannot bring together
            raise LabError(f"{self.title} finds no map of the image's size in this layer: choose another layer.")
        return found
