"""A dataset made from a seed, hard enough that training is visible, small enough for seconds."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.data.dataset import ImageCard, ImageDataset, Split


def synthetic(train: int = 320, held_out: int = 80, classes: int = 4, side: int = 32, seed: int = 0) -> ImageDataset:
    """Noisy images; each class has a bright row at another place."""
    random = np.random.default_rng(seed)

    def split(n: int) -> Split:
        labels = np.arange(n) % classes
        images = random.integers(0, 160, (n, side, side, 3))
        images[np.arange(n), 4 + 5 * labels] = 255
        return Split(images=images.astype(np.uint8), labels=labels.astype(np.int64))

    card = ImageCard(
        name="synthetic",
        title="Synthetic",
        classes=tuple("abcdefghij"[:classes]),
        image_size=side,
        mean=(0.35, 0.35, 0.35),
        std=(0.2, 0.2, 0.2),
    )
    return ImageDataset(card=card, train=split(train), validation=split(held_out), test=split(held_out))


def trace(figure: Any, name: str) -> Any:
    """The line, bars or points of a figure that have that name."""
    return next(item for item in figure.data if item.name == name)
