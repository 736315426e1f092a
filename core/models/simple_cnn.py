"""The textbook network: two valid 3x3 convolutions, two poolings, one dense layer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from core.common.settings import Count, List, Probability, Settings


class SimpleCNNConfig(Settings):
    classes: Count = 10
    """Number of labels."""
    image_size: Annotated[int, Field(ge=10)] = 32
    """Height and width of the input, pixels."""
    widths: Annotated[tuple[Count, Count], List] = (32, 64)
    """Output channels of the two convolutions."""
    dropout: Probability = 0.0
    """Dropout probability before the dense layer."""
    spatial_dropout: Probability = 0.0
    """Probability of dropping a whole channel after each pooling (arXiv:1411.4280)."""
    batch_norm: bool = False
    """Batch normalisation after each convolution."""


class SimpleCNN(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, classes). 42,442 parameters with the default config.

    Source: the convolutional network of the TensorFlow/Keras and PyTorch CIFAR-10 tutorials.
    """

    def __init__(self, config: SimpleCNNConfig) -> None:
        super().__init__()
        first, second = config.widths
        side = ((config.image_size - 2) // 2 - 2) // 2
        self.conv1 = nn.Conv2d(3, first, 3)
        self.norm1 = nn.BatchNorm2d(first) if config.batch_norm else nn.Identity()
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.spatial_dropout1 = nn.Dropout2d(config.spatial_dropout) if config.spatial_dropout else nn.Identity()
        self.conv2 = nn.Conv2d(first, second, 3)
        self.norm2 = nn.BatchNorm2d(second) if config.batch_norm else nn.Identity()
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.spatial_dropout2 = nn.Dropout2d(config.spatial_dropout) if config.spatial_dropout else nn.Identity()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.head = nn.Linear(second * side * side, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.spatial_dropout1(self._pooled(self.norm1(self.conv1(x)), self.relu1, self.pool1))  # (N, 32, 15, 15)
        x = self.spatial_dropout2(self._pooled(self.norm2(self.conv2(x)), self.relu2, self.pool2))  # (N, 64, 6, 6)
        return self.head(self.dropout(self.flatten(x)))

    def _pooled(self, x: Tensor, relu: nn.Module, pool: nn.Module) -> Tensor:
        """ReLU and pooling. Training takes a maximum first: the same values and gradients, from a quarter of the ReLUs."""
        first, second = (pool, relu) if self.training and isinstance(pool, nn.MaxPool2d) else (relu, pool)
        return second(first(x))
