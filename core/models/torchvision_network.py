"""Architectures of torchvision by name, for weights that were trained elsewhere. Nothing is fetched."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from core.common.errors import LabError
from core.common.settings import Count, Settings
from core.models.torchvision_names import Architecture


class TorchvisionConfig(Settings):
    architecture: Architecture = "resnet18"
    """Name in torchvision."""
    classes: Count = 1000
    """Number of labels."""
    image_size: Annotated[int, Field(ge=8, le=512)] = 224
    """Height and width of the images, pixels."""
    upscale_to: Annotated[int, Field(ge=0, le=512)] = 0
    """Smaller images are enlarged to this height and width first (bilinear); 0 = off."""


class TorchvisionNetwork(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, config: TorchvisionConfig) -> None:
        super().__init__()
        from torchvision.models import get_model

        side = max(config.image_size, config.upscale_to)
        sized = {"image_size": side} if config.architecture.startswith("vit_") else {}
        try:
            # Without random weights, which take seconds and of which none stays.
            self.network = get_model(config.architecture, weights=None, num_classes=config.classes, **sized)
        except (ValueError, AssertionError, RuntimeError) as error:
            raise LabError(
                f"{config.architecture} cannot take images of {side} pixels: choose another size ({str(error)[:80]})."
            ) from error
        self.side = config.image_size
        """Of the images that it is given, pixels."""
        self.upscale = nn.Upsample((side, side), mode="bilinear") if side > config.image_size else nn.Identity()
        for module in self.network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # for methods that hook layers

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(self.upscale(x))
        return logits
