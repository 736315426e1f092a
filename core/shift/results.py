"""What was measured on corrupted images, and what follows from it. Nothing here imports torch.

The images are the sampling unit: each comes back under every corruption, so intervals are over images, not over answers.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from core.common.errors import LabError
from core.common.results import ResultStore, check_format
from core.common.values import finite, signed, wilson
from core.shift.catalogue import COMMON, CORRUPTIONS, SEVERITIES
from core.shift.config import ShiftConfig

FORMAT = 1
CLEAN = "clean"
"""Of the part without a corruption."""
LEVEL = 0.95
FEWEST = 2
"""Images that an interval needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The answers of one checkpoint to all images at one severity."""

    checkpoint: int
    """Its place in the configuration."""
    severity: int
    """1 to 5; 0 for clean images."""
    right: str
    """Which answers are right, a bit an image, packed."""
    flags: str
    """Which images the none-of-these warning flags, packed."""
    ece: float
    """Expected calibration error, 0..1, over 15 bins (arXiv:1706.04599)."""
    confidence: float
    """Mean calibrated probability of the answers, 0..1."""

    @classmethod
    def from_dict(cls, values: Any) -> Cell:
        cell = cls(**values)
        if not all(finite(value) and 0 <= value <= 1 for value in (cell.ece, cell.confidence)):
            raise ValueError("a share is not from 0 to 1")
        if type(cell.checkpoint) is not int or cell.severity not in (0, *SEVERITIES):
            raise ValueError("no such cell")
        if len(unpack(cell.right)) != len(unpack(cell.flags)):
            raise ValueError("an image has two answers")
        return cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One corruption at all severities, or the clean images."""

    corruption: str
    cells: tuple[Cell, ...]

    @classmethod
    def from_dict(cls, values: Any) -> Part:
        name = values["corruption"]
        if name != CLEAN and name not in CORRUPTIONS:
            raise ValueError("no such corruption")
        return cls(corruption=name, cells=tuple(map(Cell.from_dict, values["cells"])))


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A mean over images with its interval, 0..1 or, of a difference, -1..1."""

    mean: float
    low: float
    high: float

    @property
    def percent(self) -> str:
        """`63.1% (62.0 to 64.2)`."""
        return f"{100 * self.mean:.1f}% ({100 * self.low:.1f} to {100 * self.high:.1f})"

    @property
    def points(self) -> str:
        """`+1.2 (+0.3 to +2.1)`."""
        return f"{signed(100 * self.mean)} ({signed(100 * self.low)} to {signed(100 * self.high)})"

    @property
    def sure(self) -> bool:
        """Of a difference: whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Warning:
    """Whether the none-of-these warning rises with the errors. Shares, 0..1."""

    clean: float
    """Of clean images, flagged."""
    corrupted: float
    """Of corrupted images, flagged."""
    wrong: float
    """Of wrong answers to corrupted images, flagged."""
    right: float
    """Of right answers to corrupted images, flagged."""
    correlation: float | None
    """Spearman's, over cells, between the share flagged and the share wrong; None where one of them never changes."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShiftResult:
    """A measurement, as far as it is done."""

    config: ShiftConfig
    titles: tuple[str, ...]
    """Of the checkpoints, for people."""
    parts: dict[str, Part]
    made: dict[str, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether there is anything yet."""
        return CLEAN in self.parts

    @property
    def images(self) -> int:
        return len(unpack(self.parts[CLEAN].cells[0].right)) if self.clean else 0

    @property
    def done(self) -> tuple[str, ...]:
        """The corruptions that are measured."""
        return tuple(name for name in CORRUPTIONS if name in self.parts)

    @property
    def common(self) -> tuple[str, ...]:
        """Those of them that the mean is over; all of them where none of the fifteen was asked for."""
        return tuple(name for name in self.done if name in COMMON) or self.done

    @property
    def complete(self) -> bool:
        return {CLEAN, *self.config.corruptions} <= set(self.parts)

    def cell(self, checkpoint: int, corruption: str, severity: int) -> Cell:
        return next(
            cell for cell in self.parts[corruption].cells if (cell.checkpoint, cell.severity) == (checkpoint, severity)
        )

    def right(self, checkpoint: int, corruption: str, severity: int) -> np.ndarray:
        """(N,) bool: which images it answers right."""
        return unpack(self.cell(checkpoint, corruption, severity).right)

    def accuracy(self, checkpoint: int, corruption: str = CLEAN, severity: int = 0) -> float:
        return float(self.right(checkpoint, corruption, severity).mean())

    def accuracies(self, checkpoint: int, corruptions: Sequence[str] | None = None) -> np.ndarray:
        """(corruptions, 5), 0..1; without names, of all that are done."""
        names = self.done if corruptions is None else corruptions
        return np.array([[self.accuracy(checkpoint, name, severity) for severity in SEVERITIES] for name in names])

    def per_image(self, checkpoint: int, corruptions: Sequence[str]) -> np.ndarray:
        """(N,): share of right answers to each image under these corruptions, 0..1."""
        rows = [self.right(checkpoint, name, severity) for name in corruptions for severity in SEVERITIES]
        return np.asarray(np.mean(rows, axis=0))

    def clean_accuracy(self, checkpoint: int) -> Figure:
        right = self.right(checkpoint, CLEAN, 0)
        low, high = wilson(int(right.sum()), len(right))
        return Figure(mean=float(right.mean()), low=low, high=high)

    def mean(self, checkpoint: int, corruptions: Sequence[str] | None = None) -> Figure:
        """Accuracy over corruptions (the common ones without names) and severities."""
        found = interval(self.per_image(checkpoint, self.common if corruptions is None else corruptions))
        return dataclasses.replace(found, low=max(0.0, found.low), high=min(1.0, found.high))

    def difference(
        self, checkpoint: int, other: int, corruptions: Sequence[str] | None = None, *, comparisons: int = 1
    ) -> Figure:
        """Mean accuracy of the other minus that of the checkpoint, paired by image. comparisons: intervals that are to hold at
        once (Šidák 1967)."""
        names = self.common if corruptions is None else corruptions
        return interval(self.per_image(other, names) - self.per_image(checkpoint, names), comparisons)

    def clean_difference(self, checkpoint: int, other: int, *, comparisons: int = 1) -> Figure:
        """The same on clean images."""
        pair = [self.right(which, CLEAN, 0).astype(float) for which in (other, checkpoint)]
        return interval(pair[0] - pair[1], comparisons)

    def calibration_error(self, checkpoint: int) -> tuple[float, float]:
        """On clean images, and the mean over corruptions and severities, 0..1."""
        cells = [self.cell(checkpoint, name, severity) for name in self.common for severity in SEVERITIES]
        return self.cell(checkpoint, CLEAN, 0).ece, float(np.mean([cell.ece for cell in cells]))

    def worst(self, checkpoint: int) -> str:
        """The corruption that costs most, over its severities."""
        means = self.accuracies(checkpoint, self.common).mean(axis=1)
        return self.common[int(means.argmin())]

    def warning(self, checkpoint: int) -> Warning:
        """Of the none-of-these warning."""
        cells = [self.cell(checkpoint, name, severity) for name in self.common for severity in SEVERITIES]
        right = np.array([unpack(cell.right) for cell in cells])
        flags = np.array([unpack(cell.flags) for cell in cells])
        return Warning(
            clean=float(unpack(self.cell(checkpoint, CLEAN, 0).flags).mean()),
            corrupted=float(flags.mean()),
            wrong=_share(flags[~right]),
            right=_share(flags[right]),
            correlation=rank_correlation(flags.mean(axis=1), 1 - right.mean(axis=1)),
        )

    def answer(self, checkpoint: int = 0) -> str:
        """How far it falls, in a sentence."""
        clean = self.clean_accuracy(checkpoint)
        if not self.done:
            return f"{self.titles[checkpoint]} is right on {100 * clean.mean:.1f}% of {self.images:,} clean images"
        mean, worst = self.mean(checkpoint), self.worst(checkpoint)
        lowest = self.accuracies(checkpoint, [worst]).mean()
        return (
            f"{self.titles[checkpoint]} falls from {100 * clean.mean:.1f}% to {100 * mean.mean:.1f}% on corrupted images; "
            f"{CORRUPTIONS[worst].words} costs most and leaves {100 * lowest:.0f}%"
        )

    def summary(self) -> dict[str, Any]:
        """All figures by name, for scripts: shares run from 0 to 1."""
        rows = []
        for place, (name, title) in enumerate(zip(self.config.checkpoints, self.titles, strict=True)):
            row: dict[str, Any] = {"checkpoint": name, "title": title}
            if self.clean:
                row["clean"] = dataclasses.asdict(self.clean_accuracy(place))
            if self.done:
                clean, corrupted = self.calibration_error(place)
                row |= {
                    "mean": dataclasses.asdict(self.mean(place)),
                    "calibration_error": {"clean": clean, "corrupted": corrupted},
                    "warning": dataclasses.asdict(self.warning(place)),
                    "accuracy": dict(zip(self.done, self.accuracies(place).tolist(), strict=True)),
                }
                if place:
                    others = len(self.titles) - 1
                    row["difference"] = dataclasses.asdict(self.difference(0, place, comparisons=others))
                    row["clean_difference"] = dataclasses.asdict(self.clean_difference(0, place, comparisons=others))
            rows.append(row)
        return {
            "files": self.config.files,
            "images": self.images,
            "mean_over": list(self.common),
            "checkpoints": rows,
            "made": self.made,
        }

    def to_dict(self) -> dict[str, Any]:
        parts = [dataclasses.asdict(part) for part in self.parts.values()]
        return {
            "format": FORMAT,
            "config": self.config.to_dict(),
            "titles": list(self.titles),
            "parts": parts,
            "made": self.made,
        }

    @classmethod
    def from_dict(cls, values: Any) -> ShiftResult:
        """Raises LabError or what a damaged file raises."""
        values = check_format(values, FORMAT, "shift measurement")
        config = ShiftConfig.from_dict(values["config"])
        parts = {part.corruption: part for part in map(Part.from_dict, values["parts"])}
        titles = tuple(map(str, values["titles"]))
        if len(titles) != len(config.checkpoints):
            raise ValueError("each checkpoint has a title")
        for part in parts.values():
            check_part(part, len(titles))
        return cls(config=config, titles=titles, parts=parts, made=dict(values["made"]))


MEASUREMENTS: ResultStore[ShiftResult, Part] = ResultStore(
    "shift measurement",
    Path(__file__).parent / "shipped",
    ShiftResult.from_dict,
    part_file="part.json",
    parse_part=Part.from_dict,
)


def part_folder(folder: Path, corruption: str) -> Path:
    """Where a run's folder has one corruption."""
    return folder / f"part-{corruption}"


def read_measurement(folder: Path, config: Any) -> ShiftResult:
    """What there is of a measurement by now. Raises LabError for a run of another kind."""
    if not isinstance(config, ShiftConfig):
        raise LabError("This run measures no shift: pick one from the list of measurements.")
    facts = MEASUREMENTS.read_facts(folder)
    titles = [str(title) for title in facts.get("titles", ())]
    if len(titles) != len(config.checkpoints):
        titles = list(config.checkpoints)
    parts = {}
    for name in (CLEAN, *config.corruptions):
        part = MEASUREMENTS.read_part(part_folder(folder, name))
        if part is not None and part.corruption == name and _is_whole(part, len(titles)):
            parts[name] = part
    if CLEAN not in parts:
        parts = {}
    return ShiftResult(config=config, titles=tuple(titles), parts=parts, made=facts["made"])


def _is_whole(part: Part, checkpoints: int) -> bool:
    try:
        check_part(part, checkpoints)
    except ValueError:
        return False
    return True


def check_part(part: Part, checkpoints: int) -> None:
    """Raises ValueError where an answer is missing."""
    severities = (0,) if part.corruption == CLEAN else SEVERITIES
    wanted = {(place, severity) for place in range(checkpoints) for severity in severities}
    if {(cell.checkpoint, cell.severity) for cell in part.cells} != wanted or len(part.cells) != len(wanted):
        raise ValueError("a cell is missing")


def pack(flags: np.ndarray) -> str:
    """(N,) bool as text: the number of images, and their bits, deflated, in base64."""
    bits = zlib.compress(np.packbits(flags).tobytes(), 9)
    return f"{len(flags)}:{base64.b64encode(bits).decode()}"


@lru_cache(maxsize=8192)
def unpack(text: str) -> np.ndarray:
    """(N,) bool. Raises ValueError for a text that cannot be read."""
    count, _, bits = text.partition(":")
    n = int(count)
    if not 1 <= n <= 10**6:
        raise ValueError("no such number of images")
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(base64.b64decode(bits), n // 8 + 2)
    except zlib.error as error:
        raise ValueError("damaged bits") from error
    found = np.unpackbits(np.frombuffer(data, np.uint8), count=n).astype(bool) if len(data) == -(-n // 8) else None
    if found is None:
        raise ValueError("bits are missing")
    found.flags.writeable = False
    return found


def interval(values: np.ndarray, comparisons: int = 1) -> Figure:
    """The mean of N images' values and its 95% interval: normal, with the variance over images. All of -1 to 1 for one image.

    comparisons: intervals that are to hold at once, by Šidák's correction.
    """
    mean, n = float(values.mean()), len(values)
    if n < FEWEST:
        return Figure(mean=mean, low=-1.0, high=1.0)
    level = LEVEL ** (1 / comparisons)
    half = NormalDist().inv_cdf((1 + level) / 2) * float(values.std(ddof=1)) / math.sqrt(n)
    return Figure(mean=mean, low=mean - half, high=mean + half)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's; None where one of the two never changes."""
    if len(first) < FEWEST or not first.std() or not second.std():
        return None
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _share(flags: np.ndarray) -> float:
    return float(flags.mean()) if len(flags) else 0.0
