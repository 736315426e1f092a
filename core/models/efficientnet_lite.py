"""EfficientNet-Lite0: inverted bottlenecks with depthwise convolutions, ReLU6 and no squeeze-and-excitation.

Sources: Tan & Le, arXiv:1905.11946; Sandler et al., arXiv:1801.04381 (the block); the Lite variants of the TensorFlow team, 2020.
Every module is called once per forward pass and nothing works in place, so attribution methods can hook it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from core.common.settings import Count, Probability, Settings

STEM, FEATURES = 32, 1280
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Of each stage: blocks, kernel size, stride of the first block, expansion, output channels."""


class EfficientNetLiteConfig(Settings):
    classes: Count = 10
    """Number of labels."""
    image_size: Annotated[int, Field(ge=8)] = 32
    """Height and width of the input, pixels."""
    upscale_to: Annotated[int, Field(ge=0, le=512)] = 0
    """Smaller images are enlarged to this height and width first (bilinear); 0 = off. The network was designed for 224."""
    dropout: Probability = 0.0
    """Dropout probability before the linear head."""


class EfficientNetLite(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, classes). 4,652,008 parameters with ImageNet's 1,000 classes.

    Convolutions pad as in TensorFlow ("same"): with stride 2 on an even size, one more row and column at the far side.
    """

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        side = max(config.image_size, config.upscale_to)
        enlarges = side > config.image_size
        self.upscale = nn.Upsample((side, side), mode="bilinear") if enlarges else nn.Identity()
        self.stem = _convolution(3, STEM, 3, 2, side)
        channels, side = STEM, math.ceil(side / 2)
        blocks: list[nn.Module] = []
        for repeats, kernel, first_stride, expansion, outputs in STAGES:
            for number in range(repeats):
                stride = first_stride if number == 0 else 1
                blocks.append(InvertedBottleneck(channels, outputs, kernel, stride, expansion, side))
                channels, side = outputs, math.ceil(side / stride)
        self.blocks = nn.Sequential(*blocks)
        self.last = _convolution(channels, FEATURES, 1, 1, side)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.head = nn.Linear(FEATURES, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.blocks(self.stem(self.upscale(x))))  # (N, 1280, H/32, W/32)
        return self.head(self.dropout(self.flatten(self.pool(x))))


class InvertedBottleneck(nn.Module):
    """(N, inputs, H, W) to (N, outputs, H/stride, W/stride); a residual connection where the two have one shape."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, side: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _convolution(inputs, inner, 1, 1, side) if expansion > 1 else nn.Identity()
        self.depthwise = _convolution(inner, inner, kernel, stride, side, groups=inner)
        self.project = _convolution(inner, outputs, 1, 1, math.ceil(side / stride), activate=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int, side: int, *, groups: int = 1, activate: bool = True
) -> nn.Sequential:
    """Padding, convolution, batch norm, ReLU6. side: height and width of what comes in."""
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    near, far = total // 2, total - total // 2
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if near != far:
        layers["pad"] = nn.ZeroPad2d((near, far, near, far))
    padding = near if near == far else 0
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    layers["norm"] = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
    if activate:
        layers["act"] = nn.ReLU6()
    return nn.Sequential(layers)
