"""The test accuracy on a card, and the full evaluations that are stored on this machine.

Nothing here imports torch before a full evaluation is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.checkpoints.store import Card
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.common.values import finite, read_json, wilson

if TYPE_CHECKING:
    from core.inference.evaluation import Evaluation

MOST_IMAGES = 10**9
"""Test images that a card can count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CardAccuracy:
    """What a card says."""

    accuracy: float
    """0..1."""
    interval: tuple[float, float]
    """95%, Wilson's, 0..1."""
    n: int
    """Test images."""
    tta: str
    """Test-time augmentation that it was measured with."""


def card_accuracy(card: Card) -> CardAccuracy | None:
    """The test accuracy on a card; None where it is missing or not valid: a card may come from anyone."""
    accuracy, n = card.metrics.get("test_accuracy"), card.metrics.get("test_images", card.dataset.sizes.get("test"))
    if accuracy is None or not finite(accuracy) or not 0 <= accuracy <= 1:
        return None
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_IMAGES:
        return None
    tta = "none" if card.compression else card.tta  # variants are measured on one view
    return CardAccuracy(accuracy=accuracy, interval=wilson(round(accuracy * n), n), n=n, tta=tta)


def keep_evaluation(card: Card, evaluation: Evaluation) -> None:
    """Store an evaluation under the fingerprint of its card. A failed write is ignored: it can be evaluated again."""
    path = _path(card)
    try:
        ensure_folder(path.parent)
        write_atomic(path, json.dumps(evaluation.to_dict()))
    except (OSError, LabError):
        return


def has_evaluation(card: Card) -> bool:
    return _path(card).is_file()


def kept_evaluation(card: Card) -> Evaluation | None:
    """The evaluation of these weights with this card that was kept, or None; one of an older version counts as none."""
    try:
        return _from_dict(read_json(_path(card).read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _path(card: Card) -> Path:
    # Files of int8 checkpoints without this ending are from when their float twin answered.
    ending = "-onnx" if card.onnx_file else ""
    return lab_home() / "evaluations" / f"{card.fingerprint[:32]}{ending}.json"


def _from_dict(values: dict[str, Any]) -> Evaluation:
    from core.inference.evaluation import CalibrationBin, ClassResult, Evaluation

    columns = {name: tuple(values[name]) for name in ("labels", "answers", "confidences", "files")}
    lengths = {len(column) for name, column in columns.items() if name != "files" or column}
    classes = range(len(values["per_class"]))
    if lengths != {values["n"]} or not {*columns["labels"], *columns["answers"]} <= {*classes}:
        raise ValueError("columns of other lengths, or classes that there are not")
    return Evaluation(
        **values
        | {
            "interval": tuple(values["interval"]),
            "per_class": tuple(ClassResult(**item) for item in values["per_class"]),
            "confusion": tuple(tuple(row) for row in values["confusion"]),
            "calibration": tuple(CalibrationBin(**item) for item in values["calibration"]),
        }
        | columns
    )
