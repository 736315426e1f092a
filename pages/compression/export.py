"""A checkpoint as an ONNX file: exported, loaded again and compared before it is offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.common.progress import Progress
from core.data import dataset_status
from pages.shared import tasks
from pages.shared.resources import dataset, loaded
from pages.shared.warmup import warmup

if TYPE_CHECKING:
    import numpy as np

MOST_IMAGES = 256
KEEP = 16
"""Exported files on disk; the oldest go."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was tried."""

    path: Path
    size_bytes: int
    difference: float
    """Largest difference of a logit to PyTorch."""
    compared: str
    """What they were compared on, in words."""
    snippet: str


def exported(task_key: str) -> Exported | None:
    """The file that a finished task made, if it is still there."""
    task = tasks.find(task_key)
    found = task.result if task and task.done else None
    return found if isinstance(found, Exported) and found.path.is_file() else None


def export_work(reference: CheckpointRef, file_name: str) -> Callable[[Progress], Any]:
    """The work of the task. file_name: what the download will be called, for the code that loads it."""

    warm = warmup()

    def work(report: Progress) -> Exported:
        report(0.0, "loading")
        warm.hold()
        from core.compression.onnx.export import compare_export, export_onnx, most_compared, snippet

        checkpoint = loaded(reference)
        report(0.2, "exporting to ONNX")
        data = export_onnx(checkpoint)
        report(0.6, "comparing with PyTorch")
        images = _images(reference)
        images = None if images is None else images[: most_compared(checkpoint.card)]
        difference = compare_export(checkpoint, data, images)
        compared = "random inputs" if images is None else f"{len(images):,} test images"
        report(0.95, "writing")
        return Exported(_write(reference, data), len(data), difference, compared, snippet(checkpoint.card, file_name))

    return work


def _images(reference: CheckpointRef) -> np.ndarray | None:
    """Test images, where the dataset is on this machine."""
    name = reference.card.dataset.name
    try:
        if reference.card.task != "images" or not dataset_status(name).ready:
            return None
        images = dataset(name).test.images[:MOST_IMAGES]
    except LabError:
        return None
    return images if len(images) else None


def _write(reference: CheckpointRef, data: bytes) -> Path:
    folder = ensure_folder(lab_home() / "exports")
    path = folder / f"{reference.card.fingerprint[:32]}.onnx"
    try:
        write_atomic(path, data)
        files = sorted(folder.glob("*.onnx"), key=lambda item: item.stat().st_mtime, reverse=True)
        for old in files[KEEP:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise LabError(
            f"The ONNX file cannot be written to {folder} ({error.strerror or error}): free space there."
        ) from error
    return path
