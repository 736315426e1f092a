"""What was measured of every method on many images, and what follows from it: means with intervals, margins over the
controls. Plain values that a page draws and a file keeps; imports no torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from core.attribution.baselines import DEFAULT_BASELINE, check_baseline
from core.attribution.evidence.controls import CONTROLS, OTHER
from core.attribution.evidence.curves import REMOVAL, Verdict
from core.attribution.methods.registry import METHODS, get_method
from core.common.errors import LabError
from core.common.results import check_format
from core.common.values import finite

FORMAT = 2
"""Of a report in one JSON file; another number is of another version."""
DIFFERENCES = ("other", "for_against", "road")
"""These lie in -1..1, all others at 0 or above."""
BOUNDED = ("insertion", "deletion", *DIFFERENCES)
"""These are at most 1."""
FIGURES = (*BOUNDED, "infidelity", "gap", "sensitivity", "milliseconds")
"""What is measured on each image; of controls insertion, deletion, road and infidelity. `score` is insertion - deletion."""
PASSES, UNCLEAR, FAILS = "passes", "unclear", "fails"
LEVEL = 0.95
MOST_IMAGES = 100_000
MOST_SEED = 2**32 - 1
Values = dict[str, dict[str, tuple[float | None, ...]]]
"""Method or control -> one of FIGURES -> a value for each image; None where it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean over images with its interval (Student's t)."""

    mean: float
    low: float
    high: float
    n: int
    """Images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Of times: the middle, and where all but the fastest and slowest 5% lie, ms."""

    median: float
    p5: float
    p95: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodScores:
    """One method, or one control, over all images. Intervals are of 95%; None: there are fewer than two values."""

    name: str
    """In METHODS, or in CONTROLS."""
    title: str
    control: bool
    insertion: Interval | None
    """Area under the curve, 0..1; high is good."""
    deletion: Interval | None
    """0..1; low is good."""
    score: Interval | None
    """Insertion - deletion, -1..1."""
    other: Interval | None = None
    """The score that the method's map of another image has on this one, -1..1: near its own, the map is hardly about the
    image."""
    for_against: Interval | None = None
    """Score of the signed order, what speaks for the class first, -1..1; of methods whose sign says for or against."""
    road: Interval | None = None
    """core.attribution.evidence.road.road, -1..1; high is good."""
    infidelity: Interval | None = None
    """core.attribution.evidence.stability.infidelity, 0..1; low is good."""
    gap: Interval | None = None
    """Completeness gap, of methods whose values should sum to something: 0.1 is a tenth of that."""
    sensitivity: Interval | None = None
    """core.attribution.evidence.stability.max_sensitivity, of the first images; low is good."""
    milliseconds: Spread | None = None
    """One image, the network warm."""
    margins: dict[str, Interval] = field(default_factory=dict)
    """Of CONTROLS and OTHER -> score less the control's, of the same images. All margins of a report hold together with 95%."""
    beats_all: float | None = None
    """Share of the images on which its score is above that of every control, 0..1."""
    label: str = ""
    """`better than the controls` where every margin is above 0 with its whole interval; else as Verdict.label says it."""
    group: str = ""
    """PASSES: every margin is above 0 with its whole interval. FAILS: one is below. UNCLEAR: neither. Empty for controls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """What a report is made with: all that its values depend on."""

    checkpoint: str
    title: str
    """Of the checkpoint, for people."""
    fingerprint: str
    """Card.fingerprint: another checkpoint of the same name has another one."""
    dataset: str
    classes: tuple[str, ...]
    requested: int
    """Test images that were drawn, without replacement."""
    seed: int = 0
    sensitivity_images: int = 20
    """Of the first so many, max-sensitivity was measured."""
    baseline: str = DEFAULT_BASELINE
    """That methods compare with."""
    removal: tuple[str, ...] = REMOVAL
    """Baselines that pixels are replaced by for the curves."""
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> settings, of those that were measured."""
    refused: dict[str, str] = field(default_factory=dict)
    """Name -> why this network cannot be explained so."""
    made: dict[str, str] = field(default_factory=dict)
    """`hardware`, `versions`; of a finished report also `date` and `seconds`."""

    @property
    def names(self) -> tuple[str, ...]:
        """All that has values: methods, then controls."""
        return (*self.methods, *CONTROLS)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReportConfig:
        """Rebuild from JSON. Raises LabError, TypeError, KeyError, ValueError or AttributeError for what is none."""
        config = cls(**(values | {"classes": tuple(values["classes"]), "removal": tuple(values["removal"])}))
        words = (config.checkpoint, config.title, config.fingerprint, config.dataset, *config.classes)
        words += (*config.made, *config.made.values(), *config.refused.values())
        for name in (config.baseline, *config.removal):
            check_baseline(name)
        for name, settings in config.methods.items():
            get_method(name, settings)
        whole = (
            all(isinstance(word, str) for word in words)
            and set(config.refused) <= set(METHODS) - set(config.methods)
            and bool(config.methods)
            and _count(config.requested, MOST_IMAGES)
            and _count(config.sensitivity_images, MOST_IMAGES)
            and _count(config.seed, MOST_SEED)
        )
        if not whole:
            raise LabError("The report is damaged, it has settings that cannot be: make it again.")
        return config


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageScores:
    """All that was measured on one image."""

    index: int
    """In the test split."""
    label: int
    """Its class."""
    target: int
    """The class that the checkpoint predicts, right or wrong: what every method explained."""
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    """Method or control -> some of FIGURES; empty where it was left out."""
    problem: str = ""
    """Why it was left out, in a sentence."""
    seconds: float = 0.0
    """That it took."""

    @classmethod
    def from_dict(cls, values: dict[str, Any], config: ReportConfig) -> ImageScores:
        """Rebuild from JSON. Raises LabError or TypeError for what cannot be of that report."""
        found = cls(**values)
        places = (found.label, found.target)
        figures = [*found.values.values()] if isinstance(found.values, dict) else [None]
        whole = (
            _count(found.index, MOST_IMAGES)
            and all(_count(place, len(config.classes) - 1) for place in places)
            and isinstance(found.problem, str)
            and finite(found.seconds)
            and all(isinstance(item, dict) and set(item) <= set(FIGURES) for item in figures)
            and (bool(found.problem) or set(found.values) == set(config.names))
            and all(_possible(name, value) for item in figures if item for name, value in item.items())
            and all(("insertion" in item) == ("deletion" in item) for item in figures)
            and (bool(found.problem) or all("insertion" in found.values[name] for name in CONTROLS))
        )
        if not whole:
            raise LabError("The report is damaged, it has figures that cannot be: make it again.")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All methods over many test images: every value, so that each figure can be computed again."""

    config: ReportConfig
    images: tuple[int, ...]
    """Places in the test split, in the order drawn."""
    labels: tuple[int, ...]
    targets: tuple[int, ...]
    """The class predicted for each, which is the one explained."""
    values: Values
    left_out: dict[int, str] = field(default_factory=dict)
    """Images that could not be measured, and why."""

    def column(self, name: str, figure: str) -> np.ndarray:
        """(images,) float64 of a method or control, NaN where it has none. figure: `score`, or one of FIGURES."""
        if figure == "score":
            return self.column(name, "insertion") - self.column(name, "deletion")
        found = self.values[name].get(figure, (None,) * len(self.images))
        return np.array([math.nan if value is None else value for value in found])

    def rows(self) -> tuple[MethodScores, ...]:
        """Every method, the best score first, then the controls."""
        rows = [_row(self, name) for name in self.config.methods]
        rows.sort(key=lambda row: -row.score.mean if row.score else math.inf)
        return (*rows, *(_row(self, name) for name in CONTROLS))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        left_out = {str(index): sentence for index, sentence in self.left_out.items()}
        return {"format": FORMAT} | dataclasses.asdict(self) | {"left_out": left_out}

    @classmethod
    def from_dict(cls, values: Any) -> Report:
        """Rebuild from JSON. Raises LabError for what is no report, is damaged, or of another version."""
        values = check_format(values, FORMAT, "report")
        try:
            config = ReportConfig.from_dict(values["config"])
            report = build_report(config, _unpacked(values, config))
            left_out = {int(index): sentence for index, sentence in values["left_out"].items()}
            if len(report.images) + len(left_out) != config.requested or set(left_out) & set(report.images):
                raise LabError("The report is damaged, it has not the images that it says: make it again.")
            return dataclasses.replace(report, left_out=left_out)
        except LabError:
            raise
        except (TypeError, LookupError, ValueError, AttributeError, OverflowError) as error:
            raise LabError("The report is damaged: make it again.") from error


def build_report(config: ReportConfig, found: Iterable[ImageScores]) -> Report:
    """The report of these images, in their order. Raises LabError for fewer than two that could be measured."""
    every = list(found)
    measured = [item for item in every if not item.problem]
    left_out = {item.index: item.problem for item in every if item.problem}
    if len(measured) < 2:
        why = f" ({next(iter(left_out.values()))})" if left_out else ""
        raise LabError(f"A report needs two images that can be measured, and there are fewer{why}: draw more.")
    if len({item.index for item in every}) != len(every):
        raise LabError("The report is damaged, it has an image twice: make it again.")
    columns: Values = {
        name: {
            figure: tuple(item.values[name].get(figure) for item in measured)
            for figure in FIGURES
            if any(figure in item.values[name] for item in measured)
        }
        for name in config.names
    }
    return Report(
        config=config,
        images=tuple(item.index for item in measured),
        labels=tuple(item.label for item in measured),
        targets=tuple(item.target for item in measured),
        values=columns,
        left_out=left_out,
    )


def interval(values: np.ndarray, level: float = LEVEL) -> Interval | None:
    """Mean of the values that are not NaN, with its two-sided t interval. None for fewer than two. values: (N,)."""
    known = values[~np.isnan(values)]
    n = len(known)
    if n < 2:
        return None
    mean = float(known.mean())
    half = _student_t(n - 1, level) * float(known.std(ddof=1)) / math.sqrt(n)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n)


def label_of(margins: dict[str, Interval]) -> str:
    """`better than the controls` where all margins are above 0, lower ends included; else Verdict's words for the worst."""
    return Verdict(score=0.0, controls={name: -found.low for name, found in margins.items()}).label


def group_of(margins: dict[str, Interval]) -> str:
    """PASSES where all margins are above 0, lower ends included; FAILS where one is below 0, its upper end included."""
    if any(found.high < 0 for found in margins.values()):
        return FAILS
    return PASSES if margins and all(found.low > 0 for found in margins.values()) else UNCLEAR


def rounded(value: float) -> float:
    """To five digits, which is finer than any of the figures is known."""
    return float(f"{value:.5g}")


@cache
def _student_t(df: int, level: float) -> float:
    """Half-width of the two-sided interval in standard errors."""
    from scipy import special

    return float(special.stdtrit(df, (1 + level) / 2))


def _row(report: Report, name: str) -> MethodScores:
    control = name in CONTROLS
    title = CONTROLS[name].split(" ", 1)[1] if control else METHODS[name].title
    intervals: dict[str, Any] = {
        figure: interval(report.column(name, figure)) for figure in ("score", *FIGURES) if figure != "milliseconds"
    }
    row = MethodScores(name=name, title=title[0].upper() + title[1:], control=control, **intervals)
    if control:
        return row
    score = report.column(name, "score")
    of_controls = {key: report.column(key, "score") for key in CONTROLS} | {OTHER: report.column(name, "other")}
    # Bonferroni: every margin of every method at once.
    level = 1 - (1 - LEVEL) / (len(report.config.methods) * len(of_controls))
    margins = {key: known for key, other in of_controls.items() if (known := interval(score - other, level))}
    p5, median, p95 = np.percentile(report.column(name, "milliseconds"), (5, 50, 95)).tolist()
    return dataclasses.replace(
        row,
        milliseconds=Spread(median=median, p5=p5, p95=p95),
        margins=margins,
        beats_all=float((score > np.nanmax(list(of_controls.values()), axis=0)).mean()),
        label=label_of(margins),
        group=group_of(margins),
    )


def _unpacked(values: dict[str, Any], config: ReportConfig) -> list[ImageScores]:
    """The images of a report's JSON, checked one by one. Raises what ImageScores.from_dict does, and ValueError."""
    columns: dict[str, dict[str, Sequence[Any]]] = values["values"]
    found = []
    every = zip(values["images"], values["labels"], values["targets"], strict=True)
    for place, (index, label, target) in enumerate(every):
        own = {
            name: {figure: column[place] for figure, column in figures.items() if column[place] is not None}
            for name, figures in columns.items()
        }
        found.append(ImageScores.from_dict({"index": index, "label": label, "target": target, "values": own}, config))
    if any(len(column) != len(found) for figures in columns.values() for column in figures.values()):
        raise ValueError("columns of other lengths")
    return found


def _count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _possible(figure: str, value: Any) -> bool:
    return finite(value) and value >= (-1 if figure in DIFFERENCES else 0) and (value <= 1 or figure not in BOUNDED)
