"""Evaluating a checkpoint in the background, once: the result is kept by the card's fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.progress import Progress
from core.inference.evaluation_store import keep_evaluation
from pages.shared.resources import dataset, loaded

if TYPE_CHECKING:
    from core.data.dataset import ImageDataset
    from core.inference.evaluation import Evaluation


def task_key(reference: CheckpointRef) -> str:
    """Under which name the task of this checkpoint is known to all tabs."""
    return f"evaluate-{reference.card.fingerprint}"


def evaluation_work(reference: CheckpointRef) -> Callable[[Progress], Any]:
    """The work of the task: load, evaluate on the test split, keep the result."""

    def work(report: Progress) -> Evaluation:
        report(0.0, "loading")
        from core.inference.evaluation import evaluate

        checkpoint = loaded(reference)
        test = dataset(reference.card.dataset.name).test
        if len(test) == 0:
            raise LabError(f"{reference.card.dataset.title} has no test images: add a test folder with some.")
        if checkpoint.card.image_data.classes != dataset(reference.card.dataset.name).card.classes:
            raise LabError("The dataset has other classes now than when this checkpoint was trained: train it again.")
        result = evaluate(checkpoint, test, on_progress=lambda done: report(done, "evaluating"))
        keep_evaluation(reference.card, result)
        return result

    return work


def same_images(result: Evaluation, now: ImageDataset) -> bool:
    """Whether a kept result is of the test images as they are now: a folder may change."""
    return result.labels == tuple(now.test.labels.tolist()) and result.files == now.test.files
