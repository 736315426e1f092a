"""What a dataset is here: named splits of uint8 images with a card that says where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetCard:
    """Everything a checkpoint must know about the data it was trained on, small enough to sit in its card."""

    name: str
    """Registry name (`cifar10`) or `folder:<path>`."""
    title: str
    """Name for people."""
    classes: tuple[str, ...]
    """Label names; the index is the label."""
    image_size: int = 32
    """Height and width of a model input, pixels."""
    mean: tuple[float, float, float]
    """Per-channel mean of the training images, RGB, 0..1."""
    std: tuple[float, float, float]
    """Per-channel standard deviation of the training images, RGB, 0..1."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Images per split: `train`, `validation`, `test`."""
    split: str = ""
    """How the validation split was taken, in a sentence."""
    source: str = ""
    """Where the data comes from (reference)."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Checksums of the raw arrays, where known."""

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DatasetCard:
        known = {key: value for key, value in values.items() if key in cls.__slots__}
        for key in ("classes", "mean", "std"):
            known[key] = tuple(known[key])
        return cls(**known)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Split:
    """One split. images: (N, H, W, 3) uint8 RGB; labels: (N,) int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageDataset:
    """A loaded dataset. The test split is for reporting only; choices are made on validation."""

    card: DatasetCard
    train: Split
    validation: Split
    test: Split
