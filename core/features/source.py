"""Whose test images the units of a network are shown. Importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from core.checkpoints.backbone import IMAGENET
from core.checkpoints.store import Card
from core.data.cifar10 import CLASSES, NAME, TITLE

REAL_IMAGES = 10_000
"""Test images, at most, that a unit's responses are measured on."""
FOREIGN_IMAGES = 2_000
"""The same for a network whose dataset is not here: it is shown these, enlarged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    dataset: str
    title: str
    classes: tuple[str, ...]
    most: int
    """Images, at most."""
    foreign: bool = False
    """Whether the network was trained on other images, with other classes."""


def source_of(card: Card) -> ImageSource:
    """The dataset of the network; for ImageNet's weights, which come without images, CIFAR-10."""
    data = card.image_data
    if data.name == IMAGENET:
        return ImageSource(dataset=NAME, title=TITLE, classes=CLASSES, most=FOREIGN_IMAGES, foreign=True)
    return ImageSource(dataset=data.name, title=data.title, classes=data.classes, most=REAL_IMAGES)
