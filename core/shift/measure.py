"""Checkpoints on corrupted images: all answer the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.values import wilson
from core.data.dataset import ImageDataset, Split
from core.inference.evaluation import held_out, measure_calibration, split_answers
from core.inference.images import warnings_for
from core.shift.catalogue import SEVERITIES
from core.shift.corruptions import corrupt
from core.shift.corruptions.pixels import SIDE
from core.shift.emoji import CLASSES
from core.shift.results import CLEAN, Cell, Figure, Part, pack

AT_ONCE = 500
"""Images that are made at once: few enough that a stop is soon."""
ONE_VIEW = "none"
"""No test-time augmentation: it would hide part of what a corruption does, and take up to six times as long."""
Make = Callable[[str, int, np.ndarray], np.ndarray]
"""Name, severity and numbers of test images to those images, (n, H, W, 3) uint8."""


def draw_images(dataset: ImageDataset, count: int, seed: int) -> np.ndarray:
    """(n,) numbers of test images, in order, drawn at random; all where there are fewer. Raises LabError where there are none."""
    card, total = dataset.card, len(dataset.test)
    if not total:
        raise LabError(f"{card.title[:80]} has no test images: choose a checkpoint whose dataset has some.")
    if len(card.classes) < 2:
        raise LabError(f"{card.title[:80]} has one class, so every answer is right: choose a dataset with two or more.")
    if count >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, count, replace=False))


def check_same(checkpoints: Sequence[Checkpoint]) -> None:
    """Raises LabError where checkpoints cannot answer the same images, or one is a language model."""
    cards = [checkpoint.card.image_data for checkpoint in checkpoints]
    for checkpoint, card in zip(checkpoints, cards, strict=True):
        if (card.name, card.classes, card.image_size) != (cards[0].name, cards[0].classes, cards[0].image_size):
            raise LabError(
                f"{checkpoint.card.title[:60]} and {checkpoints[0].card.title[:60]} know other images: compare checkpoints "
                "of one dataset and image size."
            )


def maker(images: np.ndarray, seed: int) -> Make:
    """What makes corrupted images out of the test images (N, H, W, 3) uint8."""

    def make(name: str, severity: int, numbers: np.ndarray) -> np.ndarray:
        return corrupt(np.ascontiguousarray(images[numbers]), name, severity, seed=seed, numbers=numbers.tolist())

    return make


def measure_part(
    checkpoints: Sequence[Checkpoint],
    test: Split,
    numbers: np.ndarray,
    corruption: str,
    make: Make,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Part:
    """One corruption at all severities, or the clean images. numbers: (n,) of the test images. on_progress gets the share done,
    0..1, and may raise to stop."""
    severities = (0,) if corruption == CLEAN else SEVERITIES
    labels = torch.from_numpy(np.asarray(test.labels[numbers], dtype=np.int64))
    chunks = np.array_split(numbers, max(1, -(-len(numbers) // AT_ONCE)))
    cells, steps = [], len(severities) * (len(chunks) + len(checkpoints))
    done = 0
    for severity in severities:
        images = []
        for chunk in chunks:
            images.append(make(corruption, severity, chunk) if severity else test.images[chunk])
            done += 1
            on_progress(done / steps)
        split = Split(images=np.concatenate(images), labels=test.labels[numbers])
        for place, checkpoint in enumerate(checkpoints):
            before = done

            def show(share: float, before: int = before) -> None:
                on_progress((before + share) / steps)

            cells.append(_measure_cell(place, checkpoint, split, labels, numbers, len(test), severity, show))
            done += 1
    return Part(corruption=corruption, cells=tuple(cells))


def _measure_cell(
    place: int,
    checkpoint: Checkpoint,
    split: Split,
    labels: torch.Tensor,
    numbers: np.ndarray,
    total: int,
    severity: int,
    on_progress: Callable[[float], None],
) -> Cell:
    found = split_answers(checkpoint, split, ONE_VIEW, on_progress)
    if not bool(torch.isfinite(found.logits).all()):
        raise LabError(f"{checkpoint.card.title[:80]} answers with numbers that are not finite: choose another one.")
    calibration = checkpoint.card.calibration
    confidence, answers = torch.softmax(found.logits / calibration.temperature, dim=1).max(dim=1)
    kept = torch.from_numpy(held_out(calibration, total)[numbers])
    if not bool(kept.any()):
        kept = torch.ones_like(kept)
    _, ece, _ = measure_calibration(found[kept], labels[kept], calibration)
    return Cell(
        checkpoint=place,
        severity=severity,
        right=pack((answers == labels).numpy()),
        flags=pack(warnings_for(found, calibration).numpy()),
        ece=round(min(1.0, ece), 5),
        confidence=round(min(1.0, float(confidence.mean())), 5),
    )


def check_ten_classes(checkpoint: Checkpoint) -> None:
    """Raises LabError for a checkpoint that does not answer with CIFAR-10's ten classes at 32 pixels."""
    card = checkpoint.card.image_data
    if card.classes != tuple(CLASSES) or card.image_size != SIDE:
        raise LabError(
            f"{checkpoint.card.title[:80]} did not learn CIFAR-10's ten classes at 32 pixels: choose a checkpoint that did."
        )


def measure_split(checkpoint: Checkpoint, split: Split) -> Figure:
    """Accuracy on other images of the same classes, in one view, with Wilson's interval."""
    answers = split_answers(checkpoint, split, ONE_VIEW).logits.argmax(1).numpy()
    hits = int((answers == split.labels).sum())
    low, high = wilson(hits, len(split))
    return Figure(mean=hits / len(split), low=low, high=high)
