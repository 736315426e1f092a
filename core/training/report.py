"""What a finished run is worth: its checkpoint on data that it never saw, written on its card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.checkpoints.store import CARD, load_checkpoint, save_features
from core.common.paths import write_atomic
from core.data.dataset import ImageDataset, Split, TextDataset
from core.inference.evaluation import Evaluation, calibrate, evaluate, split_answers, training_features
from core.inference.neighbours import kept_features
from core.inference.text import TextEvaluation, evaluate_text

if TYPE_CHECKING:
    import torch

    from core.training.flow_task import FlowTask

Stage = Callable[[str, float | None], None]
"""Told what is being done, and the share done, 0..1, where it is known."""


def measure_images(
    folder: Path,
    dataset: ImageDataset,
    device: str,
    known: dict[str, Any],
    stage: Stage,
    features: torch.Tensor | None = None,
    trained_on: Split | None = None,
) -> Evaluation | None:
    """Calibrate the checkpoint in a folder, then measure it once on test; both go on its card.

    known: figures to put beside them. features: (N, F), what its last layer gets of the training images, where that is known
    already; trained_on: otherwise those images, of a network that started from learned weights. It may warn by the distance to
    them too. None where the dataset has no test images. Raises LabError for a damaged one.
    """
    checkpoint = load_checkpoint(str(folder), device)
    if features is None and trained_on is not None:
        features = training_features(checkpoint, trained_on)
    if features is not None:
        checkpoint = dataclasses.replace(checkpoint, features=kept_features(features))
    card = checkpoint.card
    notes = card.notes
    stage("calibrating", None)
    calibration = calibrate(card, dataset, partial(split_answers, checkpoint))
    if card.recipe.get("train_on") != "train":
        notes = f"{notes} It was trained on the validation images too: its validation figures say nothing.".strip()
    card = dataclasses.replace(card, calibration=calibration, notes=notes)
    if calibration.distance and checkpoint.features is not None:
        card = save_features(folder, card, checkpoint.features)
    metrics = dict(card.metrics) | known
    evaluation = None
    if len(dataset.test):
        checkpoint = dataclasses.replace(checkpoint, card=card)
        words = "measuring on the test images"
        stage(words, None)
        evaluation = evaluate(checkpoint, dataset.test, on_progress=lambda share: stage(words, share))
        metrics |= {
            "test_accuracy": evaluation.accuracy,
            "test_interval": list(evaluation.interval),
            "test_images": evaluation.n,
            "test_loss_nats": evaluation.loss_nats,
            "test_ece": evaluation.ece,
            "test_flagged": evaluation.flagged,
        }
    write_atomic(folder / CARD, dataclasses.replace(card, metrics=metrics).to_json())
    return evaluation


def measure_flow(folder: Path, task: FlowTask, known: dict[str, Any]) -> float:
    """The squared error of the velocities on validation images, as it was followed in training; it goes on the card."""
    checkpoint = load_checkpoint(str(folder), task.device)
    error = task.validate(checkpoint.model).loss_nats
    metrics = dict(checkpoint.card.metrics) | {"velocity_error": error} | known
    write_atomic(folder / CARD, dataclasses.replace(checkpoint.card, metrics=metrics).to_json())
    return error


def in_words(evaluation: Evaluation) -> str:
    """`81.4% (95% interval 80.6% to 82.1%, 10,000 images)`."""
    low, high = evaluation.interval
    return f"{evaluation.accuracy:.1%} (95% interval {low:.1%} to {high:.1%}, {evaluation.n:,} images)"


def measure_text(
    folder: Path, dataset: TextDataset, device: str, known: dict[str, Any], stage: Stage
) -> TextEvaluation:
    """Measure the checkpoint in a folder on the whole validation part; the figures go on its card."""
    words = "measuring on the validation part"
    stage(words, None)
    checkpoint = load_checkpoint(str(folder), device)
    result = evaluate_text(checkpoint, dataset.validation, lambda share: stage(words, share))
    metrics = dict(checkpoint.card.metrics) | result.metrics() | known
    write_atomic(folder / CARD, dataclasses.replace(checkpoint.card, metrics=metrics).to_json())
    return result
