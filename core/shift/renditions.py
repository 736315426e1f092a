"""How a checkpoint answers to drawings of the classes that it learned from photographs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.common.errors import LabError
from core.common.results import ResultStore, check_format
from core.common.values import finite, wilson
from core.shift.emoji import CLASSES, Emoji
from core.shift.results import Figure

if TYPE_CHECKING:
    from core.checkpoints.store import Checkpoint

FORMAT = 1
BACKGROUNDS = {"white": 255, "grey": 128}
"""Name -> grey value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendition:
    """One drawing on one background, and the answer to it."""

    name: str
    vendor: str
    background: str
    label: str
    answer: str
    probability: float
    """Of the answer, calibrated, 0..1."""
    flagged: bool
    """Whether the none-of-these warning was given."""

    @property
    def right(self) -> bool:
        return self.answer == self.label


@dataclass(frozen=True, kw_only=True, slots=True)
class Renditions:
    """All drawings, by one checkpoint."""

    checkpoint: str
    title: str
    items: tuple[Rendition, ...]
    fingerprint: str = ""
    """Of the checkpoint."""
    made: dict[str, str] = field(default_factory=dict)

    @property
    def things(self) -> int:
        """Emoji, each counted once, whoever draws it on whatever."""
        return len({item.name for item in self.items})

    @property
    def accuracy(self) -> Figure:
        """Of all drawings. The interval is Wilson's for as many answers as there are emoji: drawings of one are no new draws."""
        return self._figure(self.items)

    def by(self, of: str) -> dict[str, Figure]:
        """The same for each `vendor`, `background` or `label`."""
        values = dict.fromkeys(getattr(item, of) for item in self.items)
        return {value: self._figure([item for item in self.items if getattr(item, of) == value]) for value in values}

    @staticmethod
    def _figure(items: Sequence[Rendition]) -> Figure:
        share = sum(item.right for item in items) / len(items)
        things = len({item.name for item in items})
        low, high = wilson(share * things, things)
        return Figure(mean=share, low=low, high=high)

    @property
    def flagged(self) -> float:
        """Share that the warning flags, 0..1."""
        return sum(item.flagged for item in self.items) / len(self.items)

    @property
    def answer(self) -> str:
        """How many it recognises, in a sentence."""
        return f"{self.title} names {self.accuracy.percent} of the drawings right"

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: Any) -> Renditions:
        """Raises LabError or what a damaged file raises."""
        values = {
            key: value for key, value in check_format(values, FORMAT, "table of renditions").items() if key != "format"
        }
        items = tuple(Rendition(**item) for item in values["items"])
        if not items or not all(finite(item.probability) and 0 <= item.probability <= 1 for item in items):
            raise ValueError("a probability is not from 0 to 1")
        return cls(**values | {"items": items})


RENDITIONS: ResultStore[Renditions, Renditions] = ResultStore(
    "table of renditions", Path(__file__).parent / "shipped" / "renditions", Renditions.from_dict
)


def rendered(emoji: Emoji, background: str, side: int) -> np.ndarray:
    """(side, side, 3) uint8: a drawing as the network gets it."""
    from core.data.decode import model_input

    return model_input(emoji.on(BACKGROUNDS[background]), side)


def measure_renditions(checkpoint: Checkpoint, emoji: Sequence[Emoji]) -> Renditions:
    """Every drawing on every background, one view each. Raises LabError for a checkpoint that does not know the ten classes."""
    from core.inference.images import classify

    card = checkpoint.card
    data = card.image_data
    if missing := sorted(set(CLASSES) - set(data.classes)):
        raise LabError(
            f"{card.title[:80]} does not know {', '.join(missing[:3])}: the drawings show CIFAR-10's classes, so choose a "
            "checkpoint that learned them."
        )
    places = [(item, background) for background in BACKGROUNDS for item in emoji]
    images = np.stack([rendered(item, background, data.image_size) for item, background in places])
    items = tuple(
        Rendition(
            name=item.name,
            vendor=item.vendor,
            background=background,
            label=item.label,
            answer=found.top[0][0],
            probability=round(min(1.0, found.top[0][1]), 4),
            flagged=found.likely_none_of_these,
        )
        for (item, background), found in zip(places, classify(checkpoint, images, "none"), strict=True)
    )
    return Renditions(checkpoint=checkpoint.name, title=card.title, items=items, fingerprint=card.fingerprint)
