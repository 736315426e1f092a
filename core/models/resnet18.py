"""ResNet-18 from torchvision with the stem for small pictures."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNet18Config:
    classes: int = 10
    """Number of labels."""
    image_size: int = 32
    """Height and width of the input, pixels (the network accepts any size)."""


def resnet18(config: ResNet18Config) -> nn.Module:
    """Normalised images (N, 3, H, W) to logits (N, classes). 11.2M parameters.

    The 7x7 stride-2 stem and its pooling would leave a 32-pixel picture 8 pixels wide, so the stem is one 3x3
    convolution. Source: He et al., arXiv:1512.03385, section 4.2.
    """
    import torchvision

    model = torchvision.models.resnet18(weights=None, num_classes=config.classes)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model
