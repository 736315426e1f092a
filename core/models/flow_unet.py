"""A small class-conditional U-Net that predicts the velocity of a flow from noise to images."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from core.common.settings import Count, Probability, Settings

TIME_FEATURES = 64
WIDTHS = (1, 2, 2)
"""Channels of the three levels, as multiples of `width`."""
POSITIONS = 16
"""Along a side of the finest level, at most: larger images have larger patches."""


class FlowUNetConfig(Settings):
    """Settings of a `FlowUNet`."""

    classes: Count = 10
    """Number of classes; one more row of the class table stands for any class."""
    image_size: Annotated[int, Field(ge=8, le=256)] = 32
    """Height and width of the images, pixels."""
    width: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = 64
    """Channels of the finest level; the two coarser ones have twice as many."""
    blocks: Annotated[int, Field(ge=1, le=8)] = 1
    """Residual blocks of each level on the way down; there is one more on the way up."""
    class_dropout: Probability = 0.1
    """Share of training images whose class is hidden, so that the network learns the flow of all images too; guidance
    needs that."""


class FlowUNet(nn.Module):
    """Points on the way from noise to images (B, 3, S, S), their times (B,) in 0..1 and classes (B,) to velocities
    (B, 3, S, S).

    Class number `classes` stands for any class (Ho & Salimans, arXiv:2207.12598). Time and class scale and shift the
    channels of every block. Squares of pixels are channels of one position, which a processor computes several times as
    fast as convolutions over single pixels.
    Source: Ronneberger et al., arXiv:1505.04597; Dhariwal & Nichol, arXiv:2105.05233; Lipman et al., arXiv:2210.02747.
    """

    random_in_training = True
    """Training draws noise, times and hidden classes from torch's generator."""
    class_layer = "classes"
    """The layer that depends on what the classes are."""

    def __init__(self, config: FlowUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.patch = max(2, math.ceil(config.image_size / POSITIONS))
        widths = [config.width * times for times in WIDTHS]
        condition = 4 * config.width
        self.classes = nn.Embedding(config.classes + 1, condition)
        self.time = nn.Sequential(nn.Linear(TIME_FEATURES, condition), nn.SiLU(), nn.Linear(condition, condition))
        pixels = 3 * self.patch**2
        self.stem = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        skips = [widths[0]]
        width = widths[0]
        for level, wide in enumerate(widths):
            if level:
                self.down.append(nn.Conv2d(width, wide, 3, stride=2, padding=1))
                skips.append(wide)
                width = wide
            for _ in range(config.blocks):
                self.down.append(ResidualBlock(width, width, condition))
                skips.append(width)
        self.middle = nn.ModuleList([ResidualBlock(width, width, condition), Attention(width)])
        self.up = nn.ModuleList()
        for wide in reversed(widths):
            for _ in range(config.blocks + 1):
                self.up.append(ResidualBlock(width + skips.pop(), wide, condition))
                width = wide
        self.norm = ChannelNorm(width)
        self.out = nn.Conv2d(width, pixels, 3, padding=1)
        start_at_zero(self.out)

    def forward(self, images: Tensor, time: Tensor, classes: Tensor) -> Tensor:
        side = images.shape[-1]
        fill = -side % self.patch
        x = F.pad(images, (0, fill, 0, fill), mode="replicate") if fill else images
        x = F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)
        condition = F.silu(self.time(time_features(time)) + self.classes(classes))  # (B, 4 width)
        x = self.stem(x)
        skips = [x]
        for layer in self.down:
            x = layer(x, condition) if isinstance(layer, ResidualBlock) else layer(x)
            skips.append(x)
        block, attention = self.middle
        x = attention(block(x, condition))
        for layer in self.up:
            skip = skips.pop()
            if x.shape[-1] != skip.shape[-1]:
                x = F.interpolate(x, size=skip.shape[-2:])
            x = layer(torch.cat([x, skip], dim=1), condition)
        velocity: Tensor = F.pixel_shuffle(self.out(F.silu(self.norm(x))), self.patch)
        return velocity[..., :side, :side]


def time_features(time: Tensor) -> Tensor:
    """(B,) in 0..1 to (B, TIME_FEATURES): sines and cosines of rising frequency, as positions of a Transformer."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000.0), TIME_FEATURES // 2, device=time.device))
    angles = time[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def start_at_zero(layer: nn.Linear | nn.Conv2d) -> None:
    """A layer that adds nothing at first (Dhariwal & Nichol)."""
    for weights in layer.parameters():
        nn.init.zeros_(weights)


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of each position (Ba et al., arXiv:1607.06450; Liu et al., arXiv:2201.03545)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)  # (B, H, W, C), contiguous in channels_last
        return F.layer_norm(rows, rows.shape[-1:], self.weight, self.bias).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a scale and shift that time and class decide; (B, in, H, W) to (B, out, H, W)."""

    def __init__(self, inside: int, outside: int, condition: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(inside), ChannelNorm(outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.modulation = nn.Linear(condition, 2 * outside)
        self.shortcut = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()
        start_at_zero(self.conv2)
        start_at_zero(self.modulation)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        added: Tensor = self.shortcut(x) + self.conv2(F.silu(h))
        return added


class Attention(nn.Module):
    """All positions attend to each other, four heads; (B, C, H, W) to the same shape."""

    heads = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        start_at_zero(self.out)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        parts = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w).transpose(-1, -2)
        mixed = F.scaled_dot_product_attention(parts[:, 0], parts[:, 1], parts[:, 2])  # (B, heads, HW, C/heads)
        added: Tensor = x + self.out(mixed.transpose(-1, -2).reshape(b, c, h, w))
        return added
