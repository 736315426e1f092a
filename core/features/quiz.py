"""Do you understand this unit? Pairs of images never shown before, of which one excites it more, and a simple rule as control.

After Borowski et al., Exemplary Natural Images Explain CNN Activations Better than Feature Visualization, arXiv:2010.12606.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.common.errors import LabError
from core.features.results import SHOWN, Score

QUESTIONS = 10
STRONG = (0.10, 0.20)
"""Ranks, from the strongest image on, as shares of all: those that one image of a pair is from."""
WEAK = 0.5
"""The other is from below this rank."""
CONTROL_PAIRS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two images of a split, in the order in which they are shown."""

    first: int
    second: int
    responses: tuple[float, float]
    """Of the unit to the first and the second."""

    @property
    def first_wins(self) -> bool:
        """Whether the first excites the unit more."""
        return self.responses[0] > self.responses[1]


def make_pairs(responses: np.ndarray, seed: int | tuple[int, ...], count: int = QUESTIONS) -> tuple[Pair, ...]:
    """Pairs without an image twice, and without those that stand as hints at either end. responses: (N,) of one unit. seed:
    several numbers are one seed.

    Raises LabError where there are too few images, or all excite it alike.
    """
    order = np.argsort(-responses, kind="stable")
    n = len(order)
    hints = {*order[:SHOWN].tolist(), *order[::-1][:SHOWN].tolist()}
    strong, weak = order[round(STRONG[0] * n) : round(STRONG[1] * n)], order[round(WEAK * n) :]
    strong, weak = (part[[place not in hints for place in part.tolist()]] for part in (strong, weak))
    if min(len(strong), len(weak)) < count:
        raise LabError(f"A quiz needs more test images than these {n:,}: choose another checkpoint.")
    if responses[strong].min() <= responses[weak].max():
        raise LabError("This unit answers too many images alike for a quiz: choose another one.")
    random = np.random.default_rng(seed)
    better, worse = (random.choice(part, count, replace=False) for part in (strong, weak))
    first_wins = random.random(count) < 0.5
    pairs = np.where(first_wins[:, None], np.stack([better, worse], 1), np.stack([worse, better], 1))  # (count, 2)
    return tuple(
        Pair(first=int(first), second=int(second), responses=(float(responses[first]), float(responses[second])))
        for first, second in pairs
    )


def in_split(pairs: tuple[Pair, ...], places: np.ndarray) -> tuple[Pair, ...]:
    """Pairs of some images of a split as pairs of the split. places: (N,) where the images are in it."""
    return tuple(replace(pair, first=int(places[pair.first]), second=int(places[pair.second])) for pair in pairs)


def brighter_rule(responses: np.ndarray, images: np.ndarray, seed: int | tuple[int, ...]) -> Score:
    """The control: whoever always takes the brighter image. It is right about half of the time for a unit to which brightness
    says nothing. responses: (N,); images: (N, H, W, 3) uint8."""
    count = min(CONTROL_PAIRS, round((STRONG[1] - STRONG[0]) * len(responses)) - 1)
    pairs = make_pairs(responses, seed, max(count, 1))
    brightness = images.mean((1, 2, 3), dtype=np.float64)
    hits = sum((brightness[pair.first] > brightness[pair.second]) == pair.first_wins for pair in pairs)
    return Score(hits=int(hits), n=len(pairs))


def score(pairs: tuple[Pair, ...], answers: list[bool]) -> Score:
    """answers: whether the first was chosen, of as many pairs as were answered."""
    given = list(zip(pairs, answers, strict=False))
    return Score(hits=sum(pair.first_wins == chosen for pair, chosen in given), n=len(given))
