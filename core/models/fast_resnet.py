"""A small, wide network that reaches 94% on CIFAR-10 in seconds on one GPU.

Descends from David Page's ResNet-9 and Keller Jordan's "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"
(arXiv:2404.00498): a frozen whitening layer, three blocks of wide 3x3 convolutions, a small linear head.
Every module is called once per forward pass and nothing works in place, so attribution methods can hook it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from core.common.errors import LabError
from core.common.settings import Count, List, Probability, Settings
from core.models.stochastic_depth import branch

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class FastResNetConfig(Settings):
    classes: Count = 10
    """Number of labels."""
    image_size: Annotated[int, Field(ge=16)] = 32
    """Height and width of the input, pixels."""
    widths: Annotated[tuple[Count, Count, Count], List] = (64, 256, 256)
    """Output channels of the three blocks."""
    depth: Annotated[int, Field(ge=2, le=6)] = 2
    """Convolutions per block; from 3 on, the block has a residual connection around all but the first."""
    activation: Literal["relu", "gelu"] = "relu"
    """`relu` (every attribution method knows it) or `gelu` (a little more accurate in very short runs)."""
    dropout: Probability = 0.0
    """Dropout probability before the linear head."""
    spatial_dropout: Probability = 0.0
    """Probability of dropping a whole channel after each block (arXiv:1411.4280)."""
    stochastic_depth: Probability = 0.0
    """Probability of leaving out the last residual branch; earlier ones less, linearly (arXiv:1603.09382). Needs depth 3."""

    @model_validator(mode="after")
    def _check_residual(self) -> FastResNetConfig:
        if self.stochastic_depth and self.depth < 3:
            raise LabError(
                f"stochastic_depth={self.stochastic_depth} needs residual connections, which fast_resnet has from depth=3 "
                f"on: set depth to 3 or more, not {self.depth}."
            )
        return self


class Block(nn.Module):
    """(N, inputs, H, W) to (N, outputs, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int, config: FastResNetConfig, number: int) -> None:
        super().__init__()
        depth, activation = config.depth, ACTIVATIONS[config.activation]
        self.conv = _convolution(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        self.norm = _norm(outputs)
        self.act = activation()
        layers: list[nn.Module] = []
        for index in range(depth - 1):
            layers += [_convolution(outputs, outputs), _norm(outputs)]
            if index < depth - 2:
                layers.append(activation())
        self.body = nn.Sequential(*layers)
        self.stochastic_depth = branch(config.stochastic_depth, number, len(config.widths))
        self.residual = depth >= 3
        self.act_out = activation()
        self.spatial_dropout = nn.Dropout2d(config.spatial_dropout) if config.spatial_dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.pool(self.conv(x))))
        y = self.stochastic_depth(self.body(x))
        return self.spatial_dropout(self.act_out(x + y if self.residual else y))


class FastResNet(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, classes). 1.97M parameters with the default config."""

    bias_epochs = 3.0
    """The whitening layer's bias is trained for this many epochs and then frozen, which spares the most expensive
    part of the backward pass."""

    def __init__(self, config: FastResNetConfig) -> None:
        super().__init__()
        whitened = 24  # 2 signs x 3 channels x 2x2 pixels
        self.whiten = nn.Conv2d(3, whitened, 2)
        self.whiten.weight.requires_grad_(False)
        self.act = ACTIVATIONS[config.activation]()
        inputs = (whitened, *config.widths[:2])
        self.blocks = nn.Sequential(
            *(Block(inputs[i], config.widths[i], config, number=i + 1) for i in range(len(inputs)))
        )
        side = (config.image_size - 1) // 8
        self.pool = nn.MaxPool2d(side)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.head = nn.Linear(config.widths[-1], config.classes, bias=False)
        nn.init.normal_(self.head.weight, std=1.0 / config.widths[-1])

    @torch.no_grad()
    def initialise_from_data(self, images: Tensor, eps: float = 5e-4) -> None:
        """Set the first layer to the eigenvectors of 2x2 patches, scaled to unit variance, with both signs.

        images: (N, 3, H, W) normalised. Source: Page's ResNet-9; arXiv:2404.00498, section 3.1.
        """
        patches = images.float().unfold(2, 2, 1).unfold(3, 2, 1)  # (N, 3, H-1, W-1, 2, 2)
        flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
        # 12x12, on the CPU: not every device has eigenvectors.
        values, vectors = (item.to(images.device) for item in torch.linalg.eigh((flat.T @ flat / len(flat)).cpu()))
        filters = (vectors / (values + eps).sqrt()).T.reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))

    def frozen_after(self) -> dict[str, float]:
        """Parameters that stop training, with the epoch at which they do."""
        return {"whiten.bias": self.bias_epochs}

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.act(self.whiten(x)))  # (N, widths[2], side, side)
        return self.head(self.dropout(self.flatten(self.pool(x))))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    # Identity on the first channels, so that the signal passes an untrained network (arXiv:2404.00498, section 3.2).
    nn.init.dirac_(conv.weight.data[: min(inputs, outputs)])
    return conv


def _norm(channels: int) -> nn.BatchNorm2d:
    # Quick running statistics suit short runs; the scale is fixed because Muon and weight decay set it already.
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm
