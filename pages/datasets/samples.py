"""Some images of a dataset in one picture, so that a page sends one and not a hundred."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.common.pixels import encode
from core.data import FOLDER_PREFIX
from core.data.dataset import Split
from pages.shared.dataset_field import suggested_folder

GAP = 4


def sheet(images: Sequence[np.ndarray], side: int = 64) -> bytes:
    """PNG of images (S, S, 3) uint8 in one row, each `side` pixels wide; small ones as the pixels they are."""
    from PIL import Image

    row = Image.new("RGBA", (len(images) * (side + GAP) - GAP, side))
    for place, rgb in enumerate(images):
        hard = rgb.shape[0] < side
        method = Image.Resampling.NEAREST if hard else Image.Resampling.BICUBIC
        tile = Image.fromarray(np.ascontiguousarray(rgb)).resize((side, side), method)
        row.paste(tile, (place * (side + GAP), 0))
    return encode(row, "PNG")


def by_class(split: Split, classes: int, number: int) -> list[np.ndarray]:
    """For each class, places of its first `number` images in the split."""
    return [np.flatnonzero(split.labels == label)[:number] for label in range(classes)]


def at_suggested_size(name: str, state: str) -> str:
    """The dataset's name with the image size that its photos allow. state: `dataset_state` of it, which takes a walk through
    the folder. Raises LabError."""
    if not name.startswith(FOLDER_PREFIX) or "?" in name:
        return name
    return suggested_folder(name, state)
