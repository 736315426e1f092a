"""Many images at once: for each file an answer, or one sentence why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.pixels import shrink
from core.data.dataset import ImageCard
from core.data.decode import decode_image, model_input
from core.data.square import Square
from core.inference.images import Prediction, classify, threshold_of

BATCH = 32
DECODERS = 4
"""Threads that decode: a large photo takes up to 200 MB while it is read."""
THUMBNAIL_PX = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FileAnswer:
    """What became of one file: a prediction, or an error."""

    name: str
    prediction: Prediction | None = None
    thumbnail: np.ndarray | None = None
    """(H, W, 3) uint8, its longer side at most `THUMBNAIL_PX`."""
    notes: tuple[str, ...] = ()
    """What was done to the image that a person should know."""
    error: str = ""
    warns: bool = True
    """Whether the checkpoint has a none-of-these warning at all."""

    def row(self) -> dict[str, Any]:
        """Plain values for a table; the probability is 0 to 1."""
        label, probability = self.prediction.top[0] if self.prediction else ("", None)
        return {
            "file": self.name,
            "class": label,
            "probability": probability,
            "likely_none_of_these": self.prediction.likely_none_of_these if self.prediction and self.warns else None,
            "notes": "; ".join(self.notes),
            "error": self.error,
        }


def classify_files(
    checkpoint: Checkpoint,
    files: Iterable[tuple[str, Callable[[], bytes]]],
    tta: str | None = None,
    square: Square | None = None,
) -> Iterator[FileAnswer]:
    """One FileAnswer per file, in order, batch by batch. Raises LabError as `logits_of` does; never for a bad file.

    files: name, and what reads its bytes; that may raise LabError. tta: None takes the card's. square: what of
    each image the model sees; None for the central square.
    """
    data, warns = checkpoint.card.image_data, threshold_of(checkpoint.card.calibration) is not None
    remaining = iter(files)
    with ThreadPoolExecutor(max_workers=min(DECODERS, os.cpu_count() or 1)) as pool:
        while block := list(islice(remaining, BATCH)):
            decoded = list(pool.map(lambda file: _decode(file[0], file[1], data, square), block))
            pixels = [image for _, image in decoded if image is not None]
            predictions = iter(classify(checkpoint, np.stack(pixels), tta) if pixels else ())
            for answer, image in decoded:
                yield answer if image is None else replace(answer, prediction=next(predictions), warns=warns)


def _decode(
    name: str, read: Callable[[], bytes], data: ImageCard, square: Square | None
) -> tuple[FileAnswer, np.ndarray | None]:
    """The answer so far, and the pixels that the model gets, (side, side, 3) uint8."""
    try:
        image = decode_image(read())
        pixels = model_input(image.rgb, data.image_size, data.fit, square)
    except LabError as error:
        return FileAnswer(name=name, error=str(error)), None
    return FileAnswer(name=name, thumbnail=shrink(image.rgb, THUMBNAIL_PX), notes=image.notes), pixels
