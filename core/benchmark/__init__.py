"""`python -m core benchmark`: figures measured side by side in one run, because machines are shared and noisy.

Each part compares in turn (A B A B …) and reports medians with their range and the ratio. Heavy imports happen inside
the parts.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

PARTS = {
    "training": "training images/s of simple_cnn and fast_resnet beside the loop every tutorial has",
    "sharing": "two runs at once, and answering while a run trains",
    "observed": "a run with its dashboard open beside the bare generator",
    "answer": "from upload to label in core",
    "app": "first page of a cold server, first answer, page switch, upload to label in the browser",
    "sessions": "20 browsers at one server: upload to label, and exceptions",
    "text": "characters/s written and trained beside the textbook's loops, and the first character in the browser",
    "explain": "attribution maps of one image, their curves, and our wrapper beside Captum called directly",
    "study": "a study's use of the cores, the quick study from start to verdict",
    "runs": "a refresh of any page, and the Runs page, beside 10,000 finished runs",
    "cluster": "runs an hour on a Ray cluster of 1, 2 and 4 nodes on this machine, at most 3 rounds (needs requirements-ray.txt)",
    "speedrun": "time to 94% on CIFAR-10 (needs a CUDA GPU)",
}


ON_REQUEST = ("cluster", "speedrun")
"""Parts that not every machine can do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    part: str
    what: str
    value: float
    """Median over the rounds."""
    unit: str
    low: float | None = None
    high: float | None = None
    """Smallest and largest round."""
    rounds: int = 1
    note: str = ""


def figure(part: str, what: str, values: list[float], unit: str, note: str = "") -> Figure:
    """The median of some rounds with their range."""
    return Figure(
        part=part,
        what=what,
        value=statistics.median(values),
        unit=unit,
        low=min(values),
        high=max(values),
        rounds=len(values),
        note=note,
    )


def ratio(part: str, what: str, above: list[float], below: list[float], note: str = "") -> Figure:
    """Round by round, so that a slow moment of the machine hits both sides."""
    return figure(part, what, [a / b for a, b in zip(above, below, strict=True)], "x", note)


def measure(parts: list[str], rounds: int) -> Iterator[Figure]:
    """Run parts in the order given. Raises LabError where one cannot run here."""
    for part in parts:
        yield from import_module(f"core.benchmark.{part}").measure(rounds)
