"""What a generator makes of the same noise at each evaluation, so that people see it learn. Kept in the run's folder as PNG."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.common.pixels import enlarge
from core.jobs.metrics import append_row, read_objects

if TYPE_CHECKING:
    from torch import nn

    from core.training.flow_task import FlowTask

SHEETS = "sheets.jsonl"
SEED, STEPS, GUIDANCE = 20094, 10, 2.0
MOST_CLASSES, EACH = 10, 2
"""Columns, and images of each class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Images made after one evaluation: a column a class, a row a noise."""

    step: int
    epoch: float
    classes: tuple[str, ...]
    png: bytes


def sample_sheet(model: nn.Module, task: FlowTask) -> dict[str, object]:
    """The sheet of a generator's present weights, as `add_sheet` keeps it. model: in eval mode."""
    from core.inference.generator import make_images

    names = task.card.classes[:MOST_CLASSES]  # type: ignore[attr-defined]
    classes = np.tile(np.arange(len(names)), EACH)
    made = make_images(model, task.card, classes, seed=SEED, steps=STEPS, guidance=GUIDANCE, amp=task.amp)  # type: ignore[arg-type]
    rows = made.reshape(EACH, len(names), *made.shape[1:])  # (EACH, classes, H, W, 3)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    return {"classes": list(names), "png": base64.b64encode(enlarge(sheet, 2 * sheet.shape[1])).decode()}


def add_sheet(folder: Path, step: int, epoch: float, sheet: dict[str, object]) -> None:
    """After an evaluation."""
    append_row(folder / SHEETS, {"step": step, "epoch": epoch} | sheet)


def read_sheets(folder: Path) -> list[Sheet]:
    """All that can be read, in order."""
    found = {}
    for row in read_objects(folder / SHEETS):
        try:
            found[int(row["step"])] = Sheet(
                step=int(row["step"]),
                epoch=float(row["epoch"]),
                classes=tuple(str(name) for name in row["classes"]),
                png=base64.b64decode(row["png"]),
            )
        except (KeyError, TypeError, ValueError):
            continue
    return [found[step] for step in sorted(found)]
