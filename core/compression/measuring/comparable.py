"""Whether two checkpoints answer the same question, so that one may be measured against the other."""

from __future__ import annotations

from core.checkpoints.store import Card
from core.common.errors import LabError

KINDS = {"images": "classifies images", "text": "writes text"}


def check_comparable(first: Card, second: Card) -> None:
    """Raises LabError where they do not: another task, other classes or characters, or images of another size."""
    one, other = first.title[:100], second.title[:100]
    if first.task != second.task:
        raise LabError(
            f"{one} {KINDS[first.task]} and {other} {KINDS[second.task]}: choose two checkpoints of one kind."
        )
    if first.task == "text":
        if first.text_data.vocabulary != second.text_data.vocabulary:
            raise LabError(f"{one} and {other} know different characters: choose two that were trained on one text.")
        return
    if first.image_data.classes != second.image_data.classes:
        raise LabError(f"{one} and {other} tell different classes apart: choose two that were trained on one dataset.")
    if first.image_data.image_size != second.image_data.image_size:
        raise LabError(
            f"{one} and {other} take images of different sizes: choose two that were trained on one dataset."
        )
