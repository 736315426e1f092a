"""Two results beside each other: the same cells on two machines, or of two checkpoints."""

from __future__ import annotations

from statistics import geometric_mean

from core.common.errors import LabError
from core.hardware.expect import times
from core.hardware.results import HardwareResult, Row

EQUAL = 1.05
"""A ratio below this is none."""


def shared_rows(first: HardwareResult, second: HardwareResult) -> list[tuple[Row, Row]]:
    """Cells that both have measured, in the order of the first. Raises LabError where there is none."""
    theirs = {row.setup: row for row in second.measured}
    pairs = [(row, theirs[row.setup]) for row in first.measured if row.setup in theirs]
    if not pairs:
        raise LabError("These two grids share no measured cell: choose grids with the same settings.")
    return pairs


def names_of(first: HardwareResult, second: HardwareResult) -> tuple[str, str]:
    """What tells them apart: the machines, or else the checkpoints, or else the dates."""
    machines = [result.machine.title if result.machine else "unknown machine" for result in (first, second)]
    titles = [first.title, second.title]
    both = [f"{title}, {machine}" for title, machine in zip(titles, machines, strict=True)]
    for names in (machines if titles[0] == titles[1] else both, titles):
        if names[0] != names[1]:
            return names[0], names[1]
    dates = [result.made.get("date", "unknown date") for result in (first, second)]
    return (dates[0], dates[1]) if dates[0] != dates[1] else ("The first grid", "the second grid")


def comparison(pairs: list[tuple[Row, Row]], names: tuple[str, str]) -> str:
    """Which is faster over all shared cells, in a sentence without its full stop."""
    ratios = [second.images_per_s.middle / first.images_per_s.middle for first, second in pairs]
    middle = geometric_mean(ratios)
    if 1 / EQUAL < middle < EQUAL:
        return f"{names[0]} and {names[1]} are equally fast"
    faster, slower = (names[1], names[0]) if middle > 1 else (names[0], names[1])
    low, high = (min(ratios), max(ratios)) if middle > 1 else (1 / max(ratios), 1 / min(ratios))
    middle = max(middle, 1 / middle)
    cells = f"over {len(pairs)} cells, {times(low)} to {times(high)}" if len(pairs) > 1 else "in one cell"
    return f"{faster} is {times(middle)} times as fast as {slower} ({cells})"
