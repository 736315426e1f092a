"""What synthetic images are worth as training data: a study of networks trained with and without them, and what it says.

Every size of a training set has four arms: the real images, synthetic ones beside them, synthetic ones alone, and as many more
real ones. All take as many steps and are tested on real images. The accuracy of synthetic images alone is the classification
accuracy score (Ravuri & Vinyals, arXiv:1905.10887).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.common.errors import LabError
from core.common.results import ResultStore
from core.common.values import signed
from core.data import GENERATED_PREFIX, canonical_name, dataset_sizes
from core.data.generated import GeneratedCard, read_card
from core.regularization.analysis import ArmResult, images_for, summary, worth_images
from core.regularization.arms import BASELINE, parse_arm
from core.regularization.results import StudyResult
from core.regularization.study import StudyConfig
from core.regularization.verdict import Verdict

WITH, ONLY, MORE = "synthetic", "synthetic_only", "more_real"
TITLES = {BASELINE: "Real only", WITH: "Real + synthetic", ONLY: "Synthetic only", MORE: "More real"}
"""Arms in the order in which they are shown."""
SIZES = (100, 1000, 0)
"""Real training images; 0 = as many as leave room for more real ones."""
SYNTHETIC_IMAGES = 5000
STEPS, BATCH_SIZE = 2000, 64
WORTH: ResultStore[StudyResult, Any] = ResultStore("study", Path(__file__).parent / "shipped", StudyResult.from_dict)
SHIPPED = "worth"
"""The study that ships."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorthArm:
    """One arm at one size, over its seeds."""

    kind: str
    """Key of TITLES."""
    train_size: int
    """Real images of the arms that it is compared with."""
    real: int
    """Real training images of this arm."""
    synthetic: int
    mean: float | None
    """Accuracy on real images, 0..1."""
    half_width: float | None
    """Half of the 95% t interval of the mean."""
    seeds: int
    verdict: Verdict
    """Against the real images alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorthAt:
    """What synthetic images are worth beside so many real ones."""

    train_size: int
    arms: tuple[WorthArm, ...]
    """In the order of TITLES, as far as there are any."""
    labels: float | None
    """More real images that do as well as the synthetic ones; None where those do not help, or more than all do."""
    leak: bool
    """Whether the generator saw more real images than this arm has."""

    def arm(self, kind: str) -> WorthArm | None:
        return next((arm for arm in self.arms if arm.kind == kind), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Worth:
    """What a study says of a set of synthetic images."""

    title: str
    """Of the set."""
    synthetic_images: int
    trained_on: int | None
    """Real images that the generator saw; None where nobody noted it."""
    split: str
    """What accuracies were measured on: `test`, or `validation` while the study is not at its end."""
    sizes: tuple[WorthAt, ...]
    score: float | None
    """Classification accuracy score, 0..1: of a network that saw synthetic images only, on real ones."""
    score_half_width: float | None
    score_labels: float | None
    """Real images alone that do as well as the synthetic ones alone; None outside what was measured."""

    @property
    def headline(self) -> str:
        """The answer, at the size where synthetic images add most."""
        judged = [(at, arm.verdict) for at in self.sizes if (arm := at.arm(WITH)) and arm.verdict.effect is not None]
        if not judged:
            return "No verdict yet: it takes two seeds with synthetic images and two without."
        at, verdict = max(judged, key=lambda pair: pair[1].effect or 0.0)
        more = at.arm(MORE)
        said = f"{self.synthetic_images:,} synthetic images add {effect_words(verdict)} to {at.train_size:,} real ones"
        if more is None or more.verdict.effect is None:
            return f"{said}."
        return f"{said}; as many real ones add {_points(more.verdict.effect)}."

    @property
    def leak(self) -> str:
        """Whose labels the gain comes from; empty where the generator saw no more real images than the arms."""
        if self.trained_on is None:
            return "Nobody noted how many real images the generator saw: its gain may come from their labels."
        sizes = [f"{at.train_size:,}" for at in self.sizes if at.leak]
        if not sizes:
            return ""
        many = f"{', '.join(sizes[:-1])} and {sizes[-1]}" if len(sizes) > 1 else sizes[0]
        return (
            f"The generator learned from {self.trained_on:,} real images, these arms from {many}: part of the gain may come from "
            "real images that the arms never saw."
        )

    @property
    def score_words(self) -> str:
        """The classification accuracy score in a sentence; empty while there is none."""
        if self.score is None:
            return ""
        half = "" if self.score_half_width is None else f" ± {100 * self.score_half_width:.1f}"
        same = "" if self.score_labels is None else f", as with about {round_labels(self.score_labels):,} real ones"
        return f"Synthetic images alone give {100 * self.score:.1f}{half}% on real images{same}."

    def to_dict(self) -> dict[str, Any]:
        words = {"headline": self.headline, "leak": self.leak, "score_words": self.score_words}
        return words | dataclasses.asdict(self)


def worth_study(
    generated: str,
    sizes: Sequence[int] = SIZES,
    synthetic_images: int = 0,
    seeds: int = 3,
    model: str = "simple_cnn",
    steps: int = STEPS,
    **settings: Any,
) -> StudyConfig:
    """The study of a set of generated images, `generated:<id>` or its id alone.

    sizes: real training images, 0 = as many as leave room for more real ones. synthetic_images: 0 = SYNTHETIC_IMAGES, or all
    where there are fewer. settings: further ones of StudyConfig. Raises LabError for a set that is not there, or too small.
    """
    name = canonical_name(GENERATED_PREFIX + generated.removeprefix(GENERATED_PREFIX))
    card = read_card(name)
    train = dataset_sizes(card.base)["train"]
    count = synthetic_images or min(SYNTHETIC_IMAGES, card.count)
    if count >= train and 0 in sizes:
        raise LabError(f"{count:,} more real images leave none of the {train:,} to begin with: take fewer.")
    config = StudyConfig(
        **{"batch_size": BATCH_SIZE} | settings,
        model=model,
        dataset=canonical_name(card.base),
        extra_dataset=name,
        arms=tuple(f"{kind}={count}" for kind in (WITH, ONLY, MORE)),
        train_sizes=tuple(size or train - count for size in sizes),
        seeds=seeds,
        steps=steps,
    )
    config.check_data(train, card.count)
    return config


def is_worth(config: Any) -> bool:
    """Whether a configuration is that of a study of synthetic images."""
    return isinstance(config, StudyConfig) and any(arm.names == (WITH,) for arm in config.parsed())


def read_worth(result: StudyResult) -> Worth:
    """What a study of synthetic images says, as far as it is. Raises LabError for a study of something else."""
    if not is_worth(result.config):
        raise LabError("This study has no arm of synthetic images: choose one that has, or start one.")
    card = _card(result)
    trained_on = card.trained_on if card else None
    rows = worth_rows(result)
    curve = [*rows, *(_as_baseline(row) for row in rows if _kind(row) == MORE)]
    sizes = []
    for size in result.config.train_sizes:
        here = {_kind(row): row for row in rows if row.train_size == size}
        worth = worth_images(curve, here[WITH].arm, size) if WITH in here else None
        sizes.append(
            WorthAt(
                train_size=size,
                arms=tuple(_arm(kind, here[kind]) for kind in TITLES if kind in here),
                labels=None if worth is None else worth - size,
                leak=trained_on is not None and trained_on > size,
            )
        )
    alone = next((row for row in rows if _kind(row) == ONLY and row.mean is not None), None)
    return Worth(
        title=card.title if card else result.config.extra_dataset.removeprefix(GENERATED_PREFIX),
        synthetic_images=_count(next(arm.spec for arm in result.config.parsed() if arm.names == (WITH,))),
        trained_on=trained_on,
        split=rows[0].split if rows else "validation",
        sizes=tuple(sizes),
        score=alone.mean if alone else None,
        score_half_width=alone.half_width if alone else None,
        score_labels=images_for(curve, alone.mean) if alone and alone.mean is not None else None,
    )


def worth_rows(result: StudyResult) -> list[ArmResult]:
    """The arms of a study that are about synthetic images, as this page calls them: one of each kind at each size."""
    first: dict[str, str] = {}
    for arm in result.config.parsed():
        kind = arm.names[0] if arm.names else BASELINE
        if kind in TITLES and len(arm.names) < 2:
            first.setdefault(kind, arm.spec)
    rows = [row for row in summary(result) if row.arm in first.values()]
    order = {spec: place for place, spec in enumerate(first.values())}
    rows.sort(key=lambda row: (row.train_size, order[row.arm]))
    return [dataclasses.replace(row, title=TITLES[_kind(row)], label=TITLES[_kind(row)]) for row in rows]


def effect_words(verdict: Verdict) -> str:
    """`−0.4 points (−1.2 to 0.4)`."""
    assert verdict.effect is not None
    effect, half = verdict.effect, verdict.half_width or 0.0
    digits = 1
    while verdict.kind != "noise" and digits < 4 and round(100 * (abs(effect) - half), digits) <= 0:
        digits += 1  # an interval that leaves out 0 shows it
    value, low, high = (_points(part, digits) for part in (effect, effect - half, effect + half))
    return f"{value} points ({low} to {high})"


def round_labels(count: float) -> int:
    """To two digits: a straight line between sizes promises no more."""
    return int(float(f"{count:.2g}"))


def _points(share: float, digits: int = 1) -> str:
    return signed(100 * share, digits).removeprefix("+")


def _kind(row: ArmResult) -> str:
    return (*parse_arm(row.arm).names, BASELINE)[0]


def _count(spec: str) -> int:
    """Images of an arm of EXTRA_DATA as it is written; 0 for no regularization."""
    techniques = parse_arm(spec).variants[0].techniques
    return int(techniques[0].strength) if techniques else 0


def _arm(kind: str, row: ArmResult) -> WorthArm:
    count = _count(row.variant)
    return WorthArm(
        kind=kind,
        train_size=row.train_size,
        real=0 if kind == ONLY else row.train_size + (count if kind == MORE else 0),
        synthetic=count if kind in (WITH, ONLY) else 0,
        mean=row.mean,
        half_width=row.half_width,
        seeds=row.seeds,
        verdict=row.verdict,
    )


def _as_baseline(row: ArmResult) -> ArmResult:
    """More real images are a point of the curve of real images, too: steps are the same."""
    return dataclasses.replace(row, arm=BASELINE, train_size=row.train_size + _count(row.variant))


def _card(result: StudyResult) -> GeneratedCard | None:
    """Of the generated images, from the study itself; None where nobody noted it."""
    try:
        return GeneratedCard.from_dict(result.extra)
    except LabError:
        return None
