"""What a study says: strengths chosen on validation, arms against the baseline, what a technique is worth in labels."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass

from core.common.values import t_half_width
from core.regularization.arms import BASELINE, Arm, Variant, inside, parse_arm, title_of
from core.regularization.results import MemberResult, StudyResult
from core.regularization.techniques import plain_number
from core.regularization.verdict import Verdict, verdicts

ORDER = {"helps": 0, "baseline": 1, "noise": 2, "hurts": 3, "none": 4}
"""Of verdicts in a table; inside each the larger effect comes first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmResult:
    """One arm at one training-set size, over its seeds."""

    arm: str
    """As `core.regularization.arms` writes it."""
    title: str
    """For people, without strengths."""
    train_size: int
    variant: str
    """The strength that was chosen on validation; what all figures here are of."""
    label: str
    """The same for people."""
    tried: int
    """Strengths, or combinations of them, that were to choose from."""
    split: str
    """What `mean` was measured on: `test`, or `validation` while the study is not at its end."""
    seeds: int
    """Runs that finished."""
    mean: float | None
    """Accuracy, 0..1."""
    sd: float | None
    """Standard deviation over seeds; None for one."""
    half_width: float | None
    """Half of the 95% t interval of the mean."""
    val_mean: float | None
    train_mean: float | None
    """On plain training images."""
    gap: float | None
    """Training accuracy minus `mean`."""
    kept_step: float | None
    """Mean step of the weights that count: before the last only with early stopping."""
    verdict: Verdict
    failed: int = 0
    """Runs that did not finish, most likely because their loss diverged; the figures say nothing of them."""

    @property
    def strength(self) -> str:
        """`0.3 (best of 3)`, and whether a weaker or stronger one might be better still; of several techniques
        `augment 2, ema 0.99`; empty where there is nothing to choose."""
        chosen = parse_arm(self.variant).variants[0].techniques
        if len(chosen) == 1:
            text = plain_number(chosen[0].strength) if chosen[0].unit else ""
        else:
            text = ", ".join(item.spec.replace("=", " ") for item in chosen if item.unit)
        if self.tried == 1:
            return text
        every = parse_arm(self.arm).variants
        edge = {every[0].spec: ", the weakest", every[-1].spec: ", the strongest"} if len(chosen) == 1 else {}
        return f"{text} (best of {self.tried}{edge.get(self.variant, '')})"


@dataclass(frozen=True, kw_only=True, slots=True)
class StrengthPoint:
    """One strength of one technique at one training-set size."""

    strength: float
    variant: str
    val_mean: float
    val_sd: float | None
    seeds: int
    gap: float | None
    """Training minus validation accuracy."""
    train_mean: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassChange:
    """Change of one class's accuracy by an arm, against the baseline of the same seed."""

    label: str
    mean: float
    """Difference of accuracies on test, -1..1."""
    of_seeds: tuple[float, ...]


def best_variant(result: StudyResult, arm: Arm, train_size: int) -> str | None:
    """The variant with the best mean validation accuracy; None where none has finished. One whose loss diverged for a
    seed is taken only where all others did, too."""
    found = []
    for place, variant in enumerate(arm.variants):
        runs = [item for item in result.finished_runs(variant.spec, train_size) if item.val_accuracy is not None]
        if runs:
            mean = statistics.fmean(item.val_accuracy for item in runs if item.val_accuracy is not None)
            found.append((-_failed(result, variant.spec, train_size), mean, -place, variant.spec))
    return max(found)[-1] if found else None


def selected_runs(result: StudyResult) -> list[MemberResult]:
    """The runs that count: those of the chosen strengths."""
    return _distinct(_picked(result))


def split_of(result: StudyResult) -> str:
    """What arms are compared on: `test` once all that counts has been measured on it, else `validation`."""
    return _split(result, selected_runs(result))


def summary(result: StudyResult) -> list[ArmResult]:
    """All arms at all sizes that have a run which is over, by size, then from most helpful to most harmful."""
    arms, picked = result.config.parsed(), _picked(result)
    split = _split(result, _distinct(picked))
    tables = {
        size: {
            arm.spec: {
                item.seed: value for item in picked[arm.spec, size] if (value := _accuracy(item, split)) is not None
            }
            for arm in arms
        }
        for size in result.config.train_sizes
    }
    found = verdicts(tables, BASELINE)
    rows = [
        _arm_result(result, arm, _variant(arm, runs), size, runs, split, found[size][arm.spec])
        for size in result.config.train_sizes
        for arm in arms
        if (runs := picked[arm.spec, size]) or _failed(result, arm.variants[0].spec, size)
    ]
    return sorted(rows, key=lambda row: (row.train_size, ORDER[row.verdict.kind], -(row.verdict.effect or 0.0)))


def unfinished_arm(result: StudyResult, arm: Arm, train_size: int) -> ArmResult | None:
    """An arm with measurements but without a run that is over: no figures, only its curves. None without measurements."""
    nothing = Verdict(kind="none", effect=None, half_width=None, seeds=0, words="")
    measured = {item.variant for item in result.members if item.train_size == train_size and item.curve.step}
    variant = next((item for item in arm.variants if item.spec in measured), None)
    return _arm_result(result, arm, variant, train_size, [], "validation", nothing) if variant else None


def headline(result: StudyResult, rows: list[ArmResult] | None = None) -> str:
    """The answer, and how many arms help and hurt. rows: of the summary; None: all."""
    rows = summary(result) if rows is None else rows
    return f"{answer(result, rows)} {counts(rows)}".strip()


def answer(result: StudyResult, rows: list[ArmResult]) -> str:
    """One sentence: `With 500 images flip + crop helps most: 37% → 49%; with batch-norm 51%.` rows: of the summary."""
    judged = _judged(rows)
    seeds = ", on two seeds" if result.config.seeds == 2 else ""
    if not judged and result.config.seeds == 1:
        return "No verdict: one seed cannot separate an effect from chance."
    if not judged:
        yet = " yet" if result.done < len(result.members) else ""
        return f"No verdict{yet}: it takes two seeds of a technique and of no regularization that did not fail."
    helping = [row for row in judged if row.verdict.kind == "helps"]
    if not helping:
        return f"Nothing helped by more than seed noise{seeds}{': add one' if seeds else ''}."
    best = helping[0]
    lead = next((row for row in helping if len(_techniques(row)) == 1), best)
    alone = len(_techniques(lead)) == 1
    subject = f"With {lead.train_size:,} images {_name(lead, rows)} {'helps' if alone else 'together help'}"
    most = " most" if len(judged) > 1 else ""
    gain = _gain(rows, lead, best)
    return f"{subject}{most}{seeds} ({gain}): add one." if seeds else f"{subject}{most}: {gain}."


def counts(rows: list[ArmResult]) -> str:
    """`7 of 15 arms help, 1 hurts.`, of the size that the answer is about; empty where one arm or none has a verdict."""
    kinds = [row.verdict.kind for row in _judged(rows)]
    helping, hurting = kinds.count("helps"), kinds.count("hurts")
    parts = [f"{helping} of {len(kinds)} arms {'helps' if helping == 1 else 'help'}"] if helping else []
    of = "" if parts else f" of {len(kinds)} arms"
    parts += [f"{hurting}{of} {'hurts' if hurting == 1 else 'hurt'}"] if hurting else []
    return f"{', '.join(parts)}." if parts and len(kinds) > 1 else ""


def best_and_worst(rows: list[ArmResult], best: int = 5) -> list[ArmResult]:
    """The baseline, the arms with the largest effect, and the one with the least. rows: of one size."""
    arms = [row for row in rows if row.arm != BASELINE]
    # Without a verdict the difference of the means stands for the effect.
    arms.sort(key=lambda row: (row.verdict.effect is None, -(row.verdict.effect or row.mean or 0.0)))
    return [*(row for row in rows if row.arm == BASELINE), *arms[:best], *arms[best:][-1:]]


def _judged(rows: list[ArmResult]) -> list[ArmResult]:
    """The arms with a verdict at the size where one helps most, from the largest effect to the least."""
    judged = [row for row in rows if row.verdict.kind in ("helps", "hurts", "noise")]
    judged.sort(key=lambda row: (row.verdict.kind == "helps", row.verdict.effect or 0.0), reverse=True)
    return [row for row in judged if row.train_size == judged[0].train_size]


def _techniques(row: ArmResult) -> tuple[str, ...]:
    return parse_arm(row.arm).names


def _name(row: ArmResult, rows: list[ArmResult]) -> str:
    """Inside a sentence; with its strength where another arm has the same techniques."""
    same = [other for other in rows if other.train_size == row.train_size and other.title == row.title]
    return inside(row.label if len(same) > 1 else row.title)


def _gain(rows: list[ArmResult], lead: ArmResult, best: ArmResult) -> str:
    """`37% → 49%; with batch-norm 51%`: the baseline, the arm that leads, and the best one where that is better still."""
    base = next(row for row in rows if row.arm == BASELINE and row.train_size == lead.train_size)
    digits = 0 if (lead.verdict.effect or 0.0) >= 0.02 else 1
    before, own, most = (f"{100 * (row.mean or 0.0):.{digits}f}%" for row in (base, lead, best))
    if most == own or (best.mean or 0.0) < (lead.mean or 0.0):
        return f"{before} → {own}"
    further = tuple(name for name in _techniques(best) if name not in _techniques(lead))
    joined = len(further) < len(_techniques(best))
    with_it = f"with {inside(title_of(further))}" if joined else f"{_name(best, rows)} together"
    return f"{before} → {own}; {with_it} {most}"


def worth_images(rows: list[ArmResult], arm: str, train_size: int) -> float | None:
    """How many training images the baseline needs to be as good as an arm at a size, by a straight line between sizes on a
    logarithmic axis. None where that lies outside what was measured, or the arm does not help by more than luck."""
    here = [row for row in rows if row.arm == arm and row.train_size == train_size and row.verdict.kind == "helps"]
    own = here[0].mean if here else None
    return None if own is None else images_for(rows, own)


def images_for(rows: list[ArmResult], accuracy: float) -> float | None:
    """The same for an accuracy, 0..1."""
    line = sorted((row.train_size, row.mean) for row in rows if row.arm == BASELINE and row.mean is not None)
    for (small, low), (large, high) in itertools.pairwise(line):
        if low <= accuracy <= high and low < high:
            share = (accuracy - low) / (high - low)
            return math.exp(math.log(small) + share * (math.log(large) - math.log(small)))
    return None


def strengths(result: StudyResult, technique: str, train_size: int) -> list[StrengthPoint]:
    """Validation accuracy against the strength of a technique alone, as far as there are runs. Weak to strong."""
    found: dict[str, StrengthPoint] = {}
    for arm in result.config.parsed():
        if arm.names != (technique,) or not arm.variants[0].techniques[0].unit:
            continue
        for variant in arm.variants:
            point = _strength_point(result, variant.spec, variant.techniques[0].strength, train_size)
            if point:
                found[variant.spec] = point
    return sorted(found.values(), key=lambda point: point.strength)


def baseline_point(result: StudyResult, train_size: int) -> StrengthPoint | None:
    """The same for no regularization."""
    return _strength_point(result, BASELINE, 0.0, train_size)


def class_changes(result: StudyResult, arm: str, train_size: int) -> list[ClassChange]:
    """What an arm does to each class on test, from the most gained to the most lost. Empty before the study's end."""
    runs = {
        item.seed: item.test_per_class
        for item in result.finished_runs(best_variant(result, parse_arm(arm), train_size) or "", train_size)
    }
    base = {item.seed: item.test_per_class for item in result.finished_runs(BASELINE, train_size)}
    shared = [seed for seed in runs if runs[seed] and base.get(seed)]
    changes = []
    for place, label in enumerate(result.classes if shared else ()):
        differences = tuple(runs[seed][place] - base[seed][place] for seed in shared)
        changes.append(ClassChange(label=label, mean=statistics.fmean(differences), of_seeds=differences))
    return sorted(changes, key=lambda change: -change.mean)


def _picked(result: StudyResult) -> dict[tuple[str, int], list[MemberResult]]:
    """(arm, size) -> the finished runs of the strength that was chosen."""
    return {
        (arm.spec, size): result.finished_runs(best_variant(result, arm, size) or "", size)
        for arm in result.config.parsed()
        for size in result.config.train_sizes
    }


def _distinct(picked: dict[tuple[str, int], list[MemberResult]]) -> list[MemberResult]:
    """Each run once: arms may share a variant."""
    found = {(item.variant, item.train_size, item.seed): item for runs in picked.values() for item in runs}
    return list(found.values())


def _split(result: StudyResult, runs: list[MemberResult]) -> str:
    complete = runs and result.done == len(result.members)
    return "test" if complete and all(item.test_accuracy is not None for item in runs) else "validation"


def _variant(arm: Arm, runs: list[MemberResult]) -> Variant:
    """The one that runs are of; of an arm whose runs all failed, the first."""
    return next((item for item in arm.variants if runs and item.spec == runs[0].variant), arm.variants[0])


def _failed(result: StudyResult, variant: str, train_size: int) -> int:
    return sum(
        item.status == "failed" for item in result.members if item.variant == variant and item.train_size == train_size
    )


def _accuracy(item: MemberResult, split: str) -> float | None:
    return item.test_accuracy if split == "test" else item.val_accuracy


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _arm_result(
    result: StudyResult,
    arm: Arm,
    variant: Variant,
    size: int,
    runs: list[MemberResult],
    split: str,
    verdict: Verdict,
) -> ArmResult:
    values = [value for item in runs if (value := _accuracy(item, split)) is not None]
    mean, n = _mean(list(values)), len(values)
    sd = statistics.stdev(values) if n > 1 else None
    train = _mean([item.train_accuracy for item in runs])
    return ArmResult(
        arm=arm.spec,
        title=arm.title,
        train_size=size,
        variant=variant.spec,
        label=variant.label,
        tried=len(arm.variants),
        split=split,
        seeds=n,
        failed=_failed(result, variant.spec, size),
        mean=mean,
        sd=sd,
        half_width=t_half_width(values),
        val_mean=_mean([item.val_accuracy for item in runs]),
        train_mean=train,
        gap=None if train is None or mean is None else train - mean,
        kept_step=_mean([item.kept_step for item in runs]),
        verdict=verdict,
    )


def _strength_point(result: StudyResult, variant: str, strength: float, train_size: int) -> StrengthPoint | None:
    runs = result.finished_runs(variant, train_size)
    values = [item.val_accuracy for item in runs if item.val_accuracy is not None]
    if not values:
        return None
    return StrengthPoint(
        strength=strength,
        variant=variant,
        val_mean=statistics.fmean(values),
        val_sd=statistics.stdev(values) if len(values) > 1 else None,
        seeds=len(values),
        gap=_mean([item.val_gap for item in runs]),
        train_mean=_mean([item.train_accuracy for item in runs]),
    )
