"""Architectures of torchvision by name, for weights that were trained elsewhere. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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


class _WidthsOnCpu(TorchFunctionMode):
    """RegNet computes the widths of its blocks with tensors: these need numbers where the rest is on the meta device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **({"device": "cpu"} if func in (torch.arange, torch.tensor) else {}) | (kwargs or {}))


class TorchvisionNetwork(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, config: TorchvisionConfig) -> None:
        super().__init__()
        from torchvision.models import get_model

        side = max(config.image_size, config.upscale_to)
        sized = {"image_size": side} if config.architecture.startswith("vit_") else {}
        try:
            # Without random weights, which take seconds and of which none stays.
            with _WidthsOnCpu() if config.architecture.startswith("regnet_") else nullcontext():
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
