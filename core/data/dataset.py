"""What a dataset is here: named splits with a card that says where they come from. Images have classes, text a vocabulary."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

NO_DATASET = "none"
"""Name on the card of a network whose classes are those of no dataset here."""
UNKNOWN = -1
"""Stands in encoded text for a character that is not in the vocabulary."""


Fit = Literal["crop", "whole"]
"""How an image becomes a square: its central square, or all of it on grey."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetCard:
    """Everything a checkpoint must know about the data it was trained on, small enough to sit in its card."""

    name: str
    """Registry name (`cifar10`), `folder:<path>` (see core.data.folder), `generated:<id>` or `text:<path>`."""
    title: str
    """Name for people."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Images or characters per split: `train`, `validation`, and for images `test`."""
    split: str = ""
    """How the splits were taken, in a sentence."""
    source: str = ""
    """Where the data comes from (reference)."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Checksums of the raw data, where known."""

    def to_dict(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        if values.get("fit") == "crop":  # said by cards of old too, whose fingerprints must stay
            del values["fit"]
        return values

    @staticmethod
    def from_dict(values: dict[str, Any]) -> DatasetCard:
        """An ImageCard or a TextCard, told apart by what they have."""
        kind: type[DatasetCard] = TextCard if "vocabulary" in values else ImageCard
        known = {item.name for item in dataclasses.fields(kind)}
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in known
        }
        return kind(**given)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageCard(DatasetCard):
    classes: tuple[str, ...]
    """Label names; the index is the label."""
    image_size: int = 32
    """Height and width of a model input, pixels."""
    fit: Fit = "crop"
    """How an image of another shape becomes a model input."""
    mean: tuple[float, float, float]
    """Per-channel mean of the training images, RGB, 0..1."""
    std: tuple[float, float, float]
    """Per-channel standard deviation of the training images, RGB, 0..1."""

    @property
    def content(self) -> dict[str, str]:
        """Classes and checksums: another content is other data."""
        return {"classes": "\n".join(self.classes)} | self.sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class TextCard(DatasetCard):
    """A text, read character by character."""

    vocabulary: str
    """Every character of the training part once, in code point order; the index is the token. Where training started from a
    checkpoint, its vocabulary comes first."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Split:
    """One split. images: (N, H, W, 3) uint8 RGB; labels: (N,) int64."""

    images: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...] = ()
    """N paths below the dataset's folder; empty where the images have no files."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageDataset:
    """A loaded dataset. The test split is for reporting only; choices are made on validation."""

    card: ImageCard
    train: Split
    validation: Split
    test: Split

    def image(self, row: int) -> np.ndarray:
        """(H, W, 3) uint8; rows count through training, validation and test images."""
        for split in (self.train, self.validation, self.test):
            if row < len(split):
                return split.images[row]
            row -= len(split)
        raise IndexError(row)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextDataset:
    """A loaded text. train, validation: (N,) int64 tokens; in validation, UNKNOWN where training never saw the character."""

    card: TextCard
    text: str
    """The whole text, training part first."""
    train: np.ndarray
    validation: np.ndarray
    unknown: dict[str, int] = field(default_factory=dict)
    """How often each character of the validation part occurs that the training part does not have."""
    changes: dict[str, int] = field(default_factory=dict)
    """What was written otherwise in the file, as `normalize` counts it."""

    @property
    def train_text(self) -> str:
        return self.text[: len(self.train)]


Dataset = ImageDataset | TextDataset
