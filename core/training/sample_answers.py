"""A few held-out images and what a run answers to them at each evaluation, so that people see it learn.

The images lie in the run's folder as PNG: whoever looks needs no dataset, which may be large, or changed since. Nothing here
imports torch.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.common.paths import write_atomic
from core.common.pixels import enlarge
from core.common.values import finite, read_json
from core.data.dataset import ImageDataset
from core.data.splits import stratified_order
from core.jobs.metrics import append_row, read_objects
from core.training.config import TrainConfig

COUNT, SEED = 12, 20094
"""The seed is not the run's: two runs on one dataset show the same images."""
IMAGES, ANSWERS = "watched.json", "answers.jsonl"
SIDE_PX = 96


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampleImages:
    """Images of one split that no training sees."""

    split: str
    """`validation`, or `test` of a run that trains on the validation images too."""
    pixels: np.ndarray
    """(N, H, W, 3) uint8."""
    labels: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleAnswers:
    """What a run says to its sample images after one evaluation."""

    split: str
    step: int
    epoch: float
    images: tuple[bytes, ...]
    """PNG."""
    labels: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def right(self) -> int:
        return sum(label == answer for label, answer in zip(self.labels, self.answers))


def choose_sample_images(config: TrainConfig, dataset: ImageDataset) -> SampleImages | None:
    """Those of a run, as many of each class as of any other; None where the dataset has no such images."""
    split = "validation" if config.train_on == "train" else "test"
    images = dataset.validation if split == "validation" else dataset.test
    if not len(images):
        return None
    chosen = stratified_order(images.labels, SEED)[:COUNT]
    classes = dataset.card.classes
    return SampleImages(
        split=split,
        pixels=np.ascontiguousarray(images.images[chosen]),
        labels=tuple(classes[int(label)] for label in images.labels[chosen]),
        classes=classes,
    )


def write_sample_images(folder: Path, sample: SampleImages) -> None:
    """Into a run's folder, once at its start."""
    images = [base64.b64encode(enlarge(image, SIDE_PX)).decode() for image in sample.pixels]
    values = {"split": sample.split, "labels": sample.labels, "classes": sample.classes, "images": images}
    write_atomic(folder / IMAGES, json.dumps(values))


def add_answers(folder: Path, step: int, epoch: float, answers: Sequence[int]) -> None:
    """After an evaluation. answers: the class of each image."""
    append_row(folder / ANSWERS, {"step": step, "epoch": epoch, "answers": list(answers)})


def read_answers(folder: Path, step: int | None = None) -> SampleAnswers | None:
    """Those of the last evaluation, or of that at a step where it has some; None where there are none that can be read."""
    try:
        values = read_json((folder / IMAGES).read_bytes())
        labels, classes, split = tuple(values["labels"]), tuple(values["classes"]), str(values["split"])
        images = tuple(base64.b64decode(image) for image in values["images"])
        rows = {
            row["step"]: row
            for row in read_objects(folder / ANSWERS)
            if finite(row.get("step")) and finite(row.get("epoch")) and len(row["answers"]) == len(images)
        }
        row = rows[step if step in rows else max(rows)]
        return SampleAnswers(
            split=split,
            step=int(row["step"]),
            epoch=float(row["epoch"]),
            images=images,
            labels=labels,
            answers=tuple(classes[index] for index in row["answers"]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
