"""One image through all corruptions, and where the answer changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.checkpoints.store import Checkpoint
from core.inference.images import Prediction, classify
from core.shift.catalogue import CORRUPTIONS, SEVERITIES
from core.shift.corruptions import corrupt
from core.shift.measure import ONE_VIEW


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Damaged:
    """The image under one corruption at one severity."""

    severity: int
    pixels: np.ndarray
    """(H, W, 3) uint8."""
    label: str
    probability: float
    """Of the label, calibrated, 0..1."""
    flagged: bool
    """Whether the none-of-these warning was given."""
    flips: bool
    """Whether the label is another one than for the image as it was given."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContactSheet:
    """An image and its 95 damaged versions."""

    clean: Damaged
    rows: dict[str, tuple[Damaged, ...]]
    """Corruption -> severities 1 to 5."""

    def flips_at(self, corruption: str) -> int | None:
        """The first severity at which the answer is another one; None where it stays."""
        return next((item.severity for item in self.rows[corruption] if item.flips), None)

    @property
    def flipped(self) -> int:
        """How many of the versions get another answer."""
        return sum(item.flips for row in self.rows.values() for item in row)

    @property
    def answer(self) -> str:
        """How firm the answer is, in a sentence."""
        total = sum(map(len, self.rows.values()))
        start = f"{self.clean.label} · {100 * self.clean.probability:.0f}%"
        if not self.flipped:
            return f"{start}: the answer stays through all {total} corrupted versions"
        first = min(self.rows, key=lambda name: self.flips_at(name) or 9)
        return (
            f"{start}: the answer changes in {self.flipped} of {total} corrupted versions, first under "
            f"{CORRUPTIONS[first].words} at severity {self.flips_at(first)}"
        )

    def table(self) -> list[dict[str, object]]:
        """A row for each corruption, for scripts."""
        return [
            {
                "corruption": name,
                "flips_at": self.flips_at(name),
                **{f"severity_{item.severity}": f"{item.label} {item.probability:.2f}" for item in row},
            }
            for name, row in self.rows.items()
        ]


def contact_sheet(checkpoint: Checkpoint, pixels: np.ndarray, seed: int = 0) -> ContactSheet:
    """All corruptions of one image, (side, side, 3) uint8, each answered in one view. Raises LabError as `classify` does."""
    places = [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    images = [pixels, *(corrupt(pixels[None], name, severity, seed=seed)[0] for name, severity in places)]
    first, *others = classify(checkpoint, np.stack(images), ONE_VIEW)
    label = first.top[0][0]

    def damaged(severity: int, image: np.ndarray, found: Prediction) -> Damaged:
        return Damaged(
            severity=severity,
            pixels=image,
            label=found.top[0][0],
            probability=found.top[0][1],
            flagged=found.likely_none_of_these,
            flips=found.top[0][0] != label,
        )

    rows: dict[str, list[Damaged]] = {name: [] for name in CORRUPTIONS}
    for (name, severity), image, found in zip(places, images[1:], others, strict=True):
        rows[name].append(damaged(severity, image, found))
    return ContactSheet(clean=damaged(0, pixels, first), rows={name: tuple(row) for name, row in rows.items()})
