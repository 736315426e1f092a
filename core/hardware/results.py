"""What a grid measured, and the figures that follow from it. Nothing here imports torch.

Speeds are compared within rounds: a cell and its reference run one after the other, so what the machine does meanwhile
happens to both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from core.common.errors import LabError
from core.common.results import DAMAGED, ResultStore, check_format
from core.common.values import read_json, wilson
from core.compression.measuring.significance import paired_interval
from core.hardware.config import HardwareConfig
from core.hardware.expect import Expectation, expect, times
from core.hardware.machine import Count, Machine, Text, checked
from core.hardware.setups import Setup

FORMAT = 1
ROOFLINE = "roofline"
"""Name of that part."""
MOST_REASON = 300
MOST_ROWS, MOST_ROUNDS, MOST_LAYERS = 1000, 1000, 2000
MAX_BYTES = 5_000_000
"""Of a result file that a person gives."""


# Bounds that no machine reaches: figures that follow from others stay numbers.
Positive = Annotated[float, Field(ge=1e-9, le=1e12)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Whole = Annotated[int, Field(gt=0, le=10**18)]
Rounds = Annotated[tuple[Positive, ...], Field(max_length=MOST_ROUNDS)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """A median over rounds with its range."""

    middle: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """`3.1 (2.9 to 3.3)`."""
        return f"{times(self.middle)} ({times(self.low)} to {times(self.high)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What came of one cell."""

    setup: Annotated[Setup, PlainValidator(Setup.from_dict)]
    reason: Annotated[str, Field(max_length=MOST_REASON)] = ""
    """Why there is no speed, in a sentence; empty for a cell that was measured."""
    round_ms: Rounds = ()
    """Median time of one call, round by round."""
    reference_ms: Rounds = ()
    """The same of the reference in the same rounds; empty where that failed."""
    p50_ms: Amount | None = None
    p95_ms: Amount | None = None
    memory_bytes: Count | None = None
    """Peak of its process beyond what it had with its libraries imported; of a GPU what PyTorch had allocated."""
    start_s: Amount | None = None
    """From the loaded checkpoint to the first answer, compiling included."""
    right: Count | None = None
    """Right answers; None where it was too slow to ask."""
    images: Annotated[int, Field(ge=0, le=10**6)] = 0
    lost: Count | None = None
    """Images that the reference alone answers right; `gained`: this cell alone. None without a reference."""
    gained: Count | None = None
    logit_difference: Amount | None = None
    """Largest, to the reference."""
    image_joules: Amount | None = None
    """Energy for an image, where a counter was there."""

    @property
    def measured(self) -> bool:
        return bool(self.round_ms)

    @property
    def images_per_s(self) -> Ratio:
        """Throughput."""
        speeds = sorted(1000 * self.setup.batch_size / ms for ms in self.round_ms)
        return Ratio(middle=median(speeds), low=speeds[0], high=speeds[-1])

    @property
    def speedup(self) -> Ratio | None:
        """Times as fast as the reference, paired by round."""
        if not self.measured or len(self.reference_ms) != len(self.round_ms):
            return None
        ratios = sorted(theirs / own for own, theirs in zip(self.round_ms, self.reference_ms, strict=True))
        return Ratio(middle=median(ratios), low=ratios[0], high=ratios[-1])

    @property
    def accuracy(self) -> float | None:
        return None if self.right is None else self.right / self.images

    @property
    def accuracy_words(self) -> str:
        """`93.4% (90.9 to 95.3)`."""
        if self.right is None:
            return "–"
        low, high = wilson(self.right, self.images)
        return f"{100 * self.right / self.images:.1f}% ({100 * low:.1f} to {100 * high:.1f})"

    @property
    def change(self) -> Ratio | None:
        """Of accuracy against the reference, in percentage points with its 95% interval."""
        if self.lost is None or self.gained is None:
            return None
        low, high = paired_interval(self.lost, self.gained, self.images)
        return Ratio(middle=100 * (self.gained - self.lost) / self.images, low=low, high=high)

    def break_even(self, reference: Row | None) -> int | None:
        """Images after which its longer start has paid back; 0 where it does not start later, None where it never does."""
        speedup = self.speedup
        if reference is None or speedup is None or self.start_s is None or reference.start_s is None:
            return None
        if speedup.middle <= 1:
            return None
        own_s = 1 / self.images_per_s.middle
        saved_s = own_s * (speedup.middle - 1)
        return max(0, round((self.start_s - reference.start_s) / saved_s))

    @classmethod
    def from_dict(cls, values: Any) -> Row:
        row = checked(cls, values)
        if not all((count or 0) <= row.images for count in (row.right, row.lost, row.gained)):
            raise ValueError("no such number of answers")
        if (row.right is not None and not row.images) or bool(row.reason) == row.measured:
            raise ValueError("a row is measured, or has a reason")
        return row


def by_speed(rows: Iterable[Row]) -> list[tuple[Row, Ratio]]:
    """Those that could be compared with the reference, with their speedups, the fastest first."""
    return sorted(((row, row.speedup) for row in rows if row.speedup), key=lambda pair: -pair[1].middle)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPoint:
    """One layer on the roofline, for one call of the network."""

    name: Text
    kind: Text
    flops: Whole
    """A multiply-add counts as two."""
    bytes: Whole
    """Inputs, weights and outputs, each moved once."""
    ms: Positive
    """Median of calls of this layer alone."""

    @property
    def intensity(self) -> float:
        """FLOP for each byte."""
        return self.flops / self.bytes

    @property
    def gflops_per_s(self) -> float:
        return self.flops / self.ms / 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Roofline:
    gflops_per_s: Positive
    """Peak that was measured: a float32 matrix product."""
    gbytes_per_s: Positive
    """Peak that was measured: a copy of an array that fits in no cache."""
    threads: Whole
    batch_size: Whole
    layers: Annotated[tuple[LayerPoint, ...], Field(min_length=1, max_length=MOST_LAYERS)]

    def roof(self, intensity: float) -> float:
        """GFLOP/s that are possible at this intensity (Williams et al., doi:10.1145/1498765.1498785)."""
        return min(self.gflops_per_s, self.gbytes_per_s * intensity)

    def share(self, layer: LayerPoint) -> float:
        """Of what is possible. Above 1 where the data of a layer stays in a cache."""
        return layer.gflops_per_s / self.roof(layer.intensity)

    def memory_bound(self, layer: LayerPoint) -> bool:
        return layer.intensity < self.gflops_per_s / self.gbytes_per_s

    def answer(self) -> str:
        """What limits the network, in a sentence."""
        total = sum(layer.ms for layer in self.layers)
        bound = sum(layer.ms for layer in self.layers if self.memory_bound(layer))
        slowest = max(self.layers, key=lambda layer: layer.ms)
        return (
            f"{100 * bound / total:.0f}% of the time goes to layers limited by memory; {slowest.name} takes most "
            f"({100 * slowest.ms / total:.0f}%) and reaches {100 * self.share(slowest):.0f}% of what is possible"
        )

    @classmethod
    def from_dict(cls, values: Any) -> Roofline:
        return checked(cls, values)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HardwareResult:
    """A grid, as far as it is done."""

    config: HardwareConfig
    title: str
    """Of the checkpoint, for people."""
    machine: Machine | None
    """None before it was read."""
    rows: tuple[Row, ...]
    roofline: Roofline | None = None
    made: dict[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.measured)

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Works and batch sizes that have any row, in the order of the configuration."""
        return tuple(dict.fromkeys(row.setup.group for row in self.rows))

    def group(self, work: str, batch_size: int) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.setup.group == (work, batch_size))

    def compared(self, work: str, batch_size: int) -> list[tuple[Row, Ratio]]:
        """Rows of a group with their speedups, the fastest first."""
        return by_speed(self.group(work, batch_size))

    def reference(self, row: Row) -> Row | None:
        """The row that it is compared with, where that was measured."""
        wanted = self.config.reference(row.setup)
        return next((each for each in self.measured if each.setup == wanted), None)

    def is_reference(self, row: Row) -> bool:
        return row.setup == self.config.reference(row.setup)

    def expectation(self, row: Row) -> Expectation | None:
        """What was to be expected of it on its machine."""
        reference = self.config.reference(row.setup)
        return None if self.machine is None else expect(row.setup, reference, self.machine)

    def hits(self) -> tuple[int, int]:
        """Of how many expectations, how many held. References are not counted."""
        pairs = [(self.expectation(row), row.speedup) for row in self.measured if not self.is_reference(row)]
        held = [expected.holds(speed.middle) for expected, speed in pairs if expected and speed]
        return sum(held), len(held)

    def table(self) -> list[dict[str, Any]]:
        """A plain row for each cell, for files and scripts."""
        return [self._plain(row) for row in self.rows]

    def _plain(self, row: Row) -> dict[str, Any]:
        values = dataclasses.asdict(row.setup) | {"reason": row.reason}
        if not row.measured:
            return values
        speed, change, expected = row.speedup, row.change, self.expectation(row)
        for name, ratio in (("images_per_s", row.images_per_s), ("speedup", speed)):
            if ratio:
                values |= {name: ratio.middle, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
        if expected:
            values |= {"expected_low": expected.low, "expected_high": expected.high}
        if change:
            values |= {"accuracy_points": change.middle, "points_low": change.low, "points_high": change.high}
        names = ("p50_ms", "p95_ms", "memory_bytes", "start_s", "accuracy", "logit_difference", "image_joules")
        values |= {name: getattr(row, name) for name in names if getattr(row, name) is not None}
        return values | {"break_even_images": row.break_even(self.reference(row))}

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "config": self.config.to_dict(),
            "title": self.title,
            "machine": self.machine and dataclasses.asdict(self.machine),
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "roofline": self.roofline and dataclasses.asdict(self.roofline),
            "made": self.made,
        }

    @classmethod
    def from_dict(cls, values: Any) -> HardwareResult:
        """Raises LabError or what a damaged file raises."""
        values = check_format(values, FORMAT, "hardware grid")
        config = HardwareConfig.from_dict(values["config"])
        if len(values["rows"]) > MOST_ROWS:
            raise ValueError("too many rows")
        rows = tuple(Row.from_dict(row) for row in values["rows"])
        known = set(config.setups)
        if not all(row.setup in known for row in rows) or len({row.setup for row in rows}) < len(rows):
            raise ValueError("a row is no cell of the grid")
        return cls(
            config=config,
            title=str(values["title"])[:200],
            machine=values["machine"] and Machine.from_dict(values["machine"]),
            rows=rows,
            roofline=values["roofline"] and Roofline.from_dict(values["roofline"]),
            made={str(name)[:60]: str(text)[:200] for name, text in values["made"].items()},
        )


def parse_part(values: Any) -> Row | Roofline:
    return Roofline.from_dict(values) if "layers" in values else Row.from_dict(values)


GRIDS: ResultStore[HardwareResult, Row | Roofline] = ResultStore(
    "hardware grid",
    Path(__file__).parent / "shipped",
    HardwareResult.from_dict,
    part_file="part.json",
    parse_part=parse_part,
)


def part_folder(folder: Path, name: str) -> Path:
    """Where a run's folder has one cell, or the roofline."""
    return folder / f"part-{name}"


def read_grid(folder: Path, config: Any) -> HardwareResult:
    """What there is of a grid by now. Raises LabError for a run of another kind."""
    if not isinstance(config, HardwareConfig):
        raise LabError("This run measures no hardware: pick one from the list of grids.")
    facts = GRIDS.read_facts(folder)
    rows = []
    for setup in config.setups:
        part = GRIDS.read_part(part_folder(folder, setup.id))
        if isinstance(part, Row) and part.setup == setup:
            rows.append(part)
    roofline = GRIDS.read_part(part_folder(folder, ROOFLINE)) if config.roofline else None
    try:
        machine = Machine.from_dict(facts["machine"])
    except DAMAGED:
        machine = None
    return HardwareResult(
        config=config,
        title=str(facts.get("title", config.checkpoint)),
        machine=machine,
        rows=tuple(rows),
        roofline=roofline if isinstance(roofline, Roofline) else None,
        made=facts["made"],
    )


def read_file(data: bytes) -> HardwareResult:
    """A result file that a person gives. Raises LabError for one that cannot be read."""
    if len(data) > MAX_BYTES:
        raise LabError(f"The file has {len(data):,} bytes: a result of this page has at most {MAX_BYTES:,}.")
    try:
        return HardwareResult.from_dict(read_json(data))
    except LabError:
        raise
    except DAMAGED as error:
        raise LabError("This file is no result of this page: download one there as All figures (JSON).") from error
