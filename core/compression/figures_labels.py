"""Where ticks and labels go: beside points without covering anything, and below a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TICK_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(1 + tenth / 10 for tenth in range(90)))
"""Digits that ticks of a logarithmic axis begin with, few to many."""
MOST_TICKS = 6
LABEL_PX = 15
"""Height of a label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A mark on a figure, pixels from its left and its top."""

    x: float
    y: float
    label: str
    radius: float = 6.0
    up: float = 0.0
    """Length of its interval above it, and below it."""
    down: float = 0.0


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def log_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Round values from low to high, both above 0, for a logarithmic axis: 3 to 6 where that can be, and their names."""
    best: list[float] = []
    for digits in TICK_STEPS:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [digit * 10.0**power for power in powers for digit in digits]
        values = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(values) > MOST_TICKS:
            # So many only in a narrow or a very wide span: every second one, every third, …
            values = values[:: -(-len(values) // MOST_TICKS)] if len(best) < 3 else best
        if len(values) > len(best):
            best = values
    return best, [f"{value:.10g}" for value in best]


def label_places(
    points: Sequence[Point], width: float, height: float, lines: Sequence[Box] = ()
) -> list[tuple[float, float] | None]:
    """Left top corner of each point's label, or None where every place near it would cover something. Earlier points choose
    first. width, height: of the figure, pixels. lines: what else no label may touch, as thin boxes."""
    taken = list(lines)
    for point in points:
        taken.append((point.x - point.radius, point.y - point.radius, point.x + point.radius, point.y + point.radius))
        if point.up or point.down:
            taken.append((point.x - 3, point.y - point.up, point.x + 3, point.y + point.down))
    found: list[tuple[float, float] | None] = []
    for point in points:
        wide = 7.0 * len(point.label) + 2
        gap = point.radius + 3
        corners = (
            (point.x + gap, point.y - LABEL_PX - 2),
            (point.x - gap - wide, point.y - LABEL_PX - 2),
            (point.x + gap, point.y + 2),
            (point.x - gap - wide, point.y + 2),
            (point.x + gap, point.y - LABEL_PX / 2),
            (point.x - gap - wide, point.y - LABEL_PX / 2),
            (point.x - wide / 2, point.y - max(gap, point.up + 3) - LABEL_PX),
            (point.x - wide / 2, point.y + max(gap, point.down + 3)),
        )
        place = None
        for left, top in corners:
            box = (left, top, left + wide, top + LABEL_PX)
            inside = left >= 0 and top >= 0 and box[2] <= width and box[3] <= height
            if inside and not any(_overlap(box, other) for other in taken):
                place = (left, top)
                taken.append(box)
                break
        found.append(place)
    return found


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Heights close to those wanted, at least `apart` from each other, between low and high where there is room."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    groups: list[list[int]] = []

    def centre(group: list[int]) -> float:
        """Of a tightly packed group: where its members move least, within the figure."""
        half = apart * (len(group) - 1) / 2
        mean = sum(wanted[place] for place in group) / len(group)
        return max(low + half, min(high - half, mean))

    for place in order:
        groups.append([place])
        while len(groups) > 1:
            above, below = groups[-2:]
            if centre(below) - centre(above) >= apart * (len(above) + len(below)) / 2:
                break
            groups[-2:] = [above + below]
    found = [0.0] * len(wanted)
    for group in groups:
        for row, place in enumerate(group):
            found[place] = centre(group) + apart * (row - (len(group) - 1) / 2)
    return found


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
