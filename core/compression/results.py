"""What a recipe gave: one measurement a variant, as plain values that a page draws and a file keeps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from core.checkpoints.store import Calibration
from core.common.errors import LabError
from core.common.results import check_format
from core.common.values import finite, signed
from core.compression.recipe import ORIGINAL, CompressConfig

FORMAT = 1
"""Of a result in one JSON file; another number is of another version."""
SUBJECTS = ("torch_b1", "torch_b64", "onnx_b1", "onnx_b64")
"""Runtime and batch size of a latency."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How long one call takes, measured in turn with the original: A B A B."""

    p50: float
    """Median, ms a batch."""
    p95: float
    original_p50: float
    """Median of the original in the same rounds, ms: compare with this one, not with a figure of another hour."""
    rounds: int = 0

    @property
    def speedup(self) -> float:
        """How many times as fast as the original, in the same rounds."""
        return self.original_p50 / self.p50 if self.p50 > 0 else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer that has weights."""

    name: str
    kind: str
    """`conv`, `linear`, `norm`, `recurrent`, `embedding`."""
    parameters: int
    macs: int
    """Multiply-adds for one image, or one character."""
    zeros: float
    """Share of its weights that are zero, 0..1."""
    shape: tuple[int, ...] = ()
    """Of its weight."""
    histogram: tuple[int, ...] = ()
    """Weights in each of HISTOGRAM_BINS equal bins from -limit to limit."""
    limit: float = 0.0
    """Largest absolute weight."""


HISTOGRAM_BINS = 61
"""Odd, so that zero has a bin of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One variant. None: not measured, `notes` says why."""

    id: str
    """`original`, or the variant's id."""
    title: str
    """What was done to the original, in words."""
    number: int = 0
    """Of the step that made it; 0: the original."""
    seed: int = 0
    control: bool = False
    steps: tuple[dict[str, Any], ...] = ()
    """All that was done to the original, a mapping a step (core.compression.steps); empty for the original."""
    model: str = ""
    stored_bytes: int = 0
    """The checkpoint's weights file on disk."""
    size_bytes: int | None = None
    """The ONNX file that runs; of a language model, its weights in the arithmetic that it runs in."""
    parameters: int = 0
    macs: int | None = None
    """Multiply-adds for one image, or one character, that are really executed: zeros are multiplied too."""
    zeros: float = 0.0
    """Share of the weights of convolutions, linear and recurrent layers that are zero."""
    latency_ms: dict[str, Latency] = field(default_factory=dict)
    """By one of SUBJECTS."""
    threads: int = 1
    memory_bytes: int | None = None
    """Most memory that a fresh process needs beyond an idle one, to load the ONNX file and answer one image."""
    accuracy: float | None = None
    """On all test images, one view of each; of text the share of first guesses on the validation part."""
    accuracy_interval: tuple[float, float] | None = None
    """95%, Wilson."""
    delta_points: float | None = None
    """Accuracy minus the original's, percentage points."""
    delta_interval: tuple[float, float] | None = None
    """95%, of paired answers, percentage points."""
    p_value: float | None = None
    """McNemar's exact test against the original: how likely so uneven a split of the disagreements is by luck alone."""
    disagreements: int | None = None
    """Test images to which it gives another answer than the original."""
    images: int = 0
    """Test images, or validation characters."""
    per_class: tuple[float, ...] = ()
    """Accuracy of each class, 0..1."""
    calibration: Calibration | None = None
    """Of a variant that classifies images: what its card will say."""
    ece: float | None = None
    flagged: float | None = None
    """Its calibration error and the share of images that its warning flags, 0..1, on test images that it was not set on."""
    loss_nats: float | None = None
    """Of text: mean cross-entropy of a character of the validation part."""
    delta_nats: float | None = None
    delta_nats_interval: tuple[float, float] | None = None
    """95%, from blocks of the text."""
    characters_per_s: float | None = None
    """Of text: written one by one, one thread."""
    original_characters_per_s: float | None = None
    """The original's in the same rounds."""
    export_error: float | None = None
    """Largest difference between the logits of the ONNX file and of PyTorch on the images that were compared."""
    layers: tuple[Layer, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be measured, and what got slower, in sentences."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressionResult:
    """A recipe with all that is known of it."""

    config: CompressConfig
    name: str
    original: str
    """Title of the checkpoint that it began with."""
    task: str = "images"
    classes: tuple[str, ...] = ()
    made: dict[str, str] = field(default_factory=dict)
    """`hardware`, `versions`, `code`, `date`."""
    measured: tuple[Measurement, ...] = ()
    """The original first, then the variants that are done."""
    soft_labels: tuple[dict[str, Any], ...] = ()
    """Of a distillation: for each class, the mean probabilities the teacher gives to its training images: `label`,
    `probabilities`."""

    planned: int = 0
    """Variants that there will be, once all is done; 0 takes the recipe's."""

    def __post_init__(self) -> None:
        if not self.planned:
            object.__setattr__(self, "planned", len(self.config.variants()))

    @property
    def first(self) -> Measurement | None:
        """The original, once it is measured."""
        return next((item for item in self.measured if item.id == ORIGINAL), None)

    @property
    def variants(self) -> tuple[Measurement, ...]:
        """All but the original."""
        return tuple(item for item in self.measured if item.id != ORIGINAL)

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT} | dataclasses.asdict(self) | {"config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, values: Any) -> CompressionResult:
        """Rebuild from JSON, for a ResultStore. Raises LabError for another version, and what DAMAGED names for other values."""
        values = check_format(values, FORMAT, "compression")
        return cls(
            config=CompressConfig.from_dict(values["config"]),
            name=str(values["name"]),
            planned=int(values.get("planned", 0)),
            original=str(values["original"]),
            task=str(values.get("task", "images")),
            classes=tuple(str(item) for item in values.get("classes", ())),
            made={str(key): str(value) for key, value in values.get("made", {}).items()},
            measured=tuple(measurement_from_dict(item) for item in values.get("measured", ())),
            soft_labels=tuple(values.get("soft_labels", ())),
        )


def measurement_from_dict(values: dict[str, Any]) -> Measurement:
    """Rebuild from JSON. Raises TypeError, KeyError or ValueError for damaged values."""
    given: dict[str, Any] = {key: _frozen(value) for key, value in values.items()}
    given["latency_ms"] = {
        key: Latency(**item) for key, item in values.get("latency_ms", {}).items() if key in SUBJECTS
    }
    given["layers"] = tuple(
        Layer(**{key: _frozen(value) for key, value in item.items()}) for item in values.get("layers", ())
    )
    if values.get("calibration"):
        given["calibration"] = Calibration.from_dict(values["calibration"])
    return Measurement(**given)


def merged(name: str, results: list[CompressionResult]) -> CompressionResult:
    """Several recipes for one original, side by side: each variant with an id of its own, numbered in one row. The original is
    the first one's. Raises LabError where they do not begin with the same checkpoint."""
    first = results[0]
    if any(item.config.checkpoint != first.config.checkpoint or item.classes != first.classes for item in results):
        raise LabError("Only recipes for the same checkpoint can stand side by side: choose others.")
    found = [first.first] if first.first else []
    number = 0
    for result in results:
        last = 0
        for item in result.variants:
            number += item.number != last
            last = item.number
            found.append(dataclasses.replace(item, id=f"{result.config.recipe}-{item.id}", number=number))
    soft = next((item.soft_labels for item in results if item.soft_labels), ())
    planned = sum(item.planned for item in results)
    return dataclasses.replace(first, name=name, measured=tuple(found), soft_labels=soft, planned=planned)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def quality(item: Measurement) -> float | None:
    """What is lost or kept: accuracy of images (0..1), minus loss in nats of text: more is better."""
    if item.loss_nats is not None:
        return -item.loss_nats
    return item.accuracy


def loss_words(item: Measurement) -> str:
    """What it cost against the original: `−0.3 points (−0.6 to +0.0)`, `+0.012 nats`; a dash where not known."""
    if item.delta_nats is not None:
        return f"{signed(item.delta_nats, 4)} nats" + _interval(item.delta_nats_interval, 4)
    if item.delta_points is None:
        return "–"
    return f"{signed(item.delta_points, 2)} points" + _interval(item.delta_interval, 2)


def speedup(item: Measurement, subject: str = "onnx_b1") -> float | None:
    """Times as fast as the original in the same runtime; of text, in characters a second. None where not measured."""
    if item.characters_per_s and item.original_characters_per_s:
        return item.characters_per_s / item.original_characters_per_s
    found = item.latency_ms.get(subject)
    return found.speedup if found else None


def size_ratio(item: Measurement, first: Measurement, field: str = "size_bytes") -> float | None:
    """How many times as small as the original's a file is; None where not known. field: `size_bytes` or `stored_bytes`."""
    own, original = getattr(item, field), getattr(first, field)
    return original / own if own and original else None


def pareto_front(items: tuple[Measurement, ...], cost: str) -> set[str]:
    """Ids of the variants than which none is both better and cheaper. cost: as in `cost_of`; the original is among items."""
    first = next((item for item in items if item.id == ORIGINAL), None)
    known = [(item.id, cost_of(item, cost, first), quality(item)) for item in items]
    points = [(name, price, value) for name, price, value in known if price is not None and value is not None]
    return {
        name
        for name, price, value in points
        if not any(p <= price and v >= value and (p < price or v > value) for _, p, v in points)
    }


def cost_of(item: Measurement, cost: str, first: Measurement | None) -> float | None:
    """What a variant costs. cost: `stored_bytes`, `size_bytes`, or one of SUBJECTS: the original's median, ms, divided by how
    many times as fast the variant was in the same rounds. Medians of different hours do not compare."""
    if cost not in SUBJECTS:
        value = getattr(item, cost)
        return float(value) if value else None
    found, own = item.latency_ms.get(cost), first.latency_ms.get(cost) if first else None
    if found is None or own is None or not finite(found.speedup) or found.speedup <= 0:
        return None
    return own.p50 / found.speedup


def _interval(found: tuple[float, float] | None, digits: int) -> str:
    return "" if found is None else f" ({signed(found[0], digits)} to {signed(found[1], digits)})"
