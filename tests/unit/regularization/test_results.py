"""What is read out of a study: checked against figures worked out by hand. And its file, whole and damaged."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.common.errors import LabError
from core.common.results import DAMAGED, ResultStore
from core.models import MODELS
from core.regularization import cost
from core.regularization.analysis import (
    ArmResult,
    answer,
    baseline_point,
    best_and_worst,
    best_variant,
    class_changes,
    counts,
    headline,
    selected_runs,
    split_of,
    strengths,
    summary,
    worth_images,
)
from core.regularization.arms import parse_arm
from core.regularization.results import Curve, StudyResult, waiting
from core.regularization.study import Member, StudyConfig
from core.training.estimate import AUGMIX_SECONDS, START_SECONDS, VIEWS

T_95 = {1: 12.706204736}
"""Student's t by degrees of freedom, two-sided 95%, from a printed table."""

Figures = Callable[[Member], dict[str, Any]]


def a_result(config: StudyConfig, figures: Figures, classes: tuple[str, ...] = ()) -> StudyResult:
    """A study whose runs have finished, but for what figures say."""
    runs = [
        dataclasses.replace(waiting(item), **{"status": "finished", "kept_step": 6} | figures(item))
        for item in config.members()
    ]
    return StudyResult(config=config, members=tuple(runs), classes=classes)


TUNED = StudyConfig(arms=("dropout=0.1/0.5",), train_sizes=(100,), seeds=2)
VAL = {"none": (0.50, 0.52), "dropout=0.1": (0.60, 0.60), "dropout=0.5": (0.55, 0.55)}
TEST = {"none": (0.40, 0.44), "dropout=0.1": (0.41, 0.43), "dropout=0.5": (0.90, 0.90)}
TRAIN = {"none": (1.0, 1.0), "dropout=0.1": (0.80, 0.90), "dropout=0.5": (0.70, 0.70)}


def tuned(member: Member, **changes: Any) -> dict[str, Any]:
    """Validation takes 0.1, test would have taken 0.5."""
    spec, seed = member.variant.spec, member.seed
    return {
        "val_accuracy": VAL[spec][seed],
        "test_accuracy": TEST[spec][seed],
        "train_accuracy": TRAIN[spec][seed],
    } | changes


def test_strength_is_chosen_on_validation_and_judged_on_test() -> None:
    result = a_result(TUNED, tuned)
    arm = parse_arm("dropout=0.1/0.5")
    assert best_variant(result, arm, 100) == "dropout=0.1"
    assert [(item.variant, item.seed) for item in selected_runs(result)] == [
        ("none", 0),
        ("none", 1),
        ("dropout=0.1", 0),
        ("dropout=0.1", 1),
    ]
    row = next(row for row in summary(result) if row.arm == arm.spec)
    assert (row.variant, row.tried, row.split, row.seeds) == ("dropout=0.1", 2, "test", 2)
    assert row.mean == pytest.approx(0.42)
    assert row.sd == pytest.approx(math.sqrt(0.0002))
    assert row.half_width == pytest.approx(T_95[1] * 0.01)
    assert (row.val_mean, row.train_mean) == (pytest.approx(0.60), pytest.approx(0.85))
    assert row.gap == pytest.approx(0.43)
    assert row.kept_step == 6
    # Differences of the seeds: +0.01 and -0.01. One arm beside the baseline: the paired t-test.
    assert (row.verdict.kind, row.verdict.seeds) == ("noise", 2)
    assert row.verdict.effect == pytest.approx(0)
    assert row.verdict.half_width == pytest.approx(T_95[1] * 0.01)
    assert headline(result) == "Nothing helped by more than seed noise, on two seeds: add one."


@pytest.mark.parametrize("what", [{"status": "running"}, {"status": "waiting"}, {"test_accuracy": None}], ids=str)
def test_test_counts_only_once_all_that_counts_is_measured_on_it(what: dict[str, Any]) -> None:
    late = a_result(TUNED, lambda item: tuned(item, **what if item.id.startswith("dropout-0-1") and item.seed else {}))
    assert split_of(late) == "validation"
    row = next(row for row in summary(late) if row.variant == "dropout=0.1")
    assert (row.split, row.mean) == ("validation", pytest.approx(0.60))
    unchosen = a_result(
        TUNED, lambda item: tuned(item) | ({"test_accuracy": None} if item.variant.spec == "dropout=0.5" else {})
    )
    assert split_of(unchosen) == "test", "what was not chosen is never measured on it"


def test_a_strength_that_diverged_is_avoided() -> None:
    def figures(member: Member, diverged: tuple[str, ...]) -> dict[str, Any]:
        over = {"status": "failed", "val_accuracy": None, "test_accuracy": None}
        return tuned(member) | (over if member.variant.spec in diverged and member.seed == 1 else {})

    arm = parse_arm("dropout=0.1/0.5")
    assert best_variant(a_result(TUNED, lambda item: figures(item, ("dropout=0.1",))), arm, 100) == "dropout=0.5"
    both = a_result(TUNED, lambda item: figures(item, ("dropout=0.1", "dropout=0.5")))
    assert best_variant(both, arm, 100) == "dropout=0.1"
    assert split_of(both) == "test", "a run that diverged is over"
    row = next(row for row in summary(both) if row.arm == arm.spec)
    assert (row.seeds, row.sd, row.half_width, row.verdict.kind) == (1, None, None, "none")
    assert row.failed == 1
    nothing = a_result(TUNED, lambda item: {"status": "failed"})
    assert (best_variant(nothing, arm, 100), selected_runs(nothing)) == (None, [])
    assert [(row.arm, row.failed, row.mean) for row in summary(nothing)] == [("none", 2, None), (arm.spec, 2, None)]
    assert headline(nothing).startswith("No verdict: it takes two seeds"), "an arm that always fails is not hidden"
    tie = a_result(TUNED, lambda item: {"val_accuracy": 0.5})
    assert best_variant(tie, arm, 100) == "dropout=0.1", "the weaker of two that are as good"


def test_rows_go_from_what_helps_to_what_hurts_at_each_size() -> None:
    effect = {"none": 0.0, "dropout=0.3": -0.2, "l2=0.1": 0.1, "cutout=8": 0.2, "mixup=0.2": 0.0}
    jitter = (0.001, -0.001, 0.0)

    def figures(member: Member) -> dict[str, Any]:
        noise = jitter[member.seed] if member.variant.spec == "mixup=0.2" else 0.0
        return {"val_accuracy": 0.5 + member.train_size / 10_000 + effect[member.variant.spec] + noise}

    config = StudyConfig(arms=("dropout=0.3", "l2=0.1", "cutout=8", "mixup=0.2"), train_sizes=(1000, 100), seeds=3)
    rows = summary(a_result(config, figures))
    order = ["cutout=8", "l2=0.1", "none", "mixup=0.2", "dropout=0.3"]
    assert [(row.train_size, row.arm) for row in rows] == [(size, arm) for size in (100, 1000) for arm in order]
    assert [row.verdict.kind for row in rows[:5]] == ["helps", "helps", "baseline", "noise", "hurts"]
    assert [row.gap for row in rows] == [None] * 10
    said = {100: "51% → 71%", 1000: "60% → 80%"}
    for size, gain in said.items():
        here = [row for row in rows if row.train_size == size]
        assert answer(a_result(config, figures), here) == f"With {size:,} images cutout helps most: {gain}."
        assert counts(here) == "2 of 4 arms help, 1 hurts."
    assert headline(a_result(config, figures)) in [
        f"With {size:,} images cutout helps most: {gain}. 2 of 4 arms help, 1 hurts." for size, gain in said.items()
    ]


SPECS = ("augment=2", "augment=2+batch_norm+ema=0.99", "dropout=0.3", "l2=0.1+dropout=0.5", "mixup=0.2", "cutmix=1")
FLIP, BOTH = "flip + crop helps most: 37% → 49%", "L2 (weight decay) and dropout together"
ANSWERS = {
    "alone and with others": ((0.12, 0.14, 0.01, 0, 0, 0), f"{FLIP}; with batch-norm and EMA of weights 51%."),
    "others together": ((0.12, 0, 0, 0.14, 0, 0), f"{FLIP}; {BOTH} 51%."),
    "only together": ((0, 0, 0, 0.14, 0, 0), f"{BOTH} help most: 37% → 51%."),
    "alone is best": ((0.12, 0.1, 0.01, 0, 0, 0), f"{FLIP}."),
    "less than two points": ((0, 0, 0.012, 0, 0, 0), "dropout helps most: 37.0% → 38.2%."),
}


@pytest.mark.parametrize(("effects", "said"), ANSWERS.values(), ids=ANSWERS)
def test_the_answer_names_what_helps_most(effects: tuple[float, ...], said: str) -> None:
    config = StudyConfig(arms=SPECS, train_sizes=(500,), seeds=3)
    of = {"none": 0.0} | dict(zip([arm.spec for arm in config.parsed()][1:], effects, strict=True))
    result = a_result(config, lambda member: {"val_accuracy": 0.37 + of[member.variant.spec]})
    assert answer(result, summary(result)) == f"With 500 images {said}"


def test_the_best_and_the_worst_stand_for_all() -> None:
    config = StudyConfig(arms=SPECS, train_sizes=(500,), seeds=3)
    of = {"none": 0.0} | dict(
        zip([arm.spec for arm in config.parsed()][1:], (0.5, 0.4, 0.1, -0.3, 0.2, 0.3), strict=True)
    )
    rows = summary(a_result(config, lambda member: {"val_accuracy": 0.37 + of[member.variant.spec]}))
    assert [row.arm for row in best_and_worst(rows, 2)] == ["none", SPECS[0], SPECS[1], SPECS[3]]
    assert len(best_and_worst(rows)) == len(rows)
    alone = a_result(config.replace(seeds=1), lambda member: {"val_accuracy": 0.37 + of[member.variant.spec]})
    assert [row.arm for row in best_and_worst(summary(alone), 2)] == ["none", SPECS[0], SPECS[1], SPECS[3]]


def test_what_an_arm_is_worth_in_labels() -> None:
    baseline = {100: 0.40, 1000: 0.60, 10_000: 0.60}
    config = StudyConfig(arms=("l2=0.1", "cutout=8", "dropout=0.3"), train_sizes=(100, 1000, 10_000), seeds=2)

    def figures(member: Member) -> dict[str, Any]:
        plain = baseline[member.train_size]
        other = {"none": plain, "l2=0.1": 0.5, "cutout=8": 0.6, "dropout=0.3": 0.61}
        return {"val_accuracy": other[member.variant.spec]}

    rows: list[ArmResult] = summary(a_result(config, figures))
    assert worth_images(rows, "l2=0.1", 100) == pytest.approx(10**2.5), "half-way on a logarithmic axis"
    assert worth_images(rows, "none", 100) is None
    assert worth_images(rows, "l2=0.1", 1000) is None, "it does harm there"
    assert worth_images(rows, "cutout=8", 100) == pytest.approx(1000)
    assert worth_images(rows, "dropout=0.3", 100) is None, "above all that was measured"
    assert worth_images(rows, "mixup=0.2", 100) is None
    one_seed = config.replace(seeds=1)
    assert worth_images(summary(a_result(one_seed, figures)), "l2=0.1", 100) is None, "it may be luck"
    assert headline(a_result(one_seed, figures)).startswith("No verdict")


def test_what_was_chosen_is_told_with_what_else_there_was() -> None:
    config = StudyConfig(arms=("dropout=0.1/0.3/0.5", "augment=2+l2=0.1/0.3", "batch_norm", "l1"), seeds=1)

    def figures(member: Member) -> dict[str, Any]:
        spec = member.variant.spec
        return {"val_accuracy": 0.9 if spec in ("dropout=0.5", "l2=0.1+augment=2") else 0.4}

    told = {row.arm: row.strength for row in summary(a_result(config, figures))}
    assert told == {
        "none": "",
        "dropout=0.1/0.3/0.5": "0.5 (best of 3, the strongest)",
        "l2=0.1/0.3+augment=2": "l2 0.1, augment 2 (best of 2)",
        "batch_norm": "",
        "l1=0.0001": "0.0001",
    }


def test_strengths_of_a_technique_alone() -> None:
    config = StudyConfig(arms=("dropout=0.5", "dropout=0.1/0.3", "dropout=0.7+l2=0.1"), seeds=2, train_sizes=(50,))

    def figures(member: Member) -> dict[str, Any]:
        strength = sum(item.strength for item in member.variant.techniques)
        shown = {"val_accuracy": 0.4 + strength / 10 + member.seed / 50, "train_accuracy": 1.0}
        return {"status": "failed"} if strength == 0.3 and member.seed else shown

    points = strengths(a_result(config, figures), "dropout", 50)
    assert [(point.strength, point.seeds) for point in points] == [(0.1, 2), (0.3, 1), (0.5, 2)]
    assert [point.val_mean for point in points] == pytest.approx([0.42, 0.43, 0.46])
    assert [point.val_sd for point in points] == [pytest.approx(math.sqrt(0.0002)), None, pytest.approx(0.02 / 2**0.5)]
    assert points[0].gap == pytest.approx(0.58)
    base = baseline_point(a_result(config, figures), 50)
    assert (base.strength, base.val_mean) == (0.0, pytest.approx(0.41))
    assert strengths(a_result(config, figures), "l2", 50) == []


def test_classes_are_compared_seed_by_seed() -> None:
    of_seed: dict[str, list[tuple[float, ...]]] = {
        "none": [(0.5, 0.5, 0.5), (0.1, 0.9, 0.3), ()],
        "l2=0.1": [(0.5, 0.3, 0.7), (0.1, 0.8, 0.4), (1.0, 1.0, 1.0)],
    }
    config = StudyConfig(arms=("l2=0.1",), train_sizes=(100,), seeds=3)
    result = a_result(
        config,
        lambda item: {"val_accuracy": 0.5, "test_per_class": of_seed[item.variant.spec][item.seed]},
        classes=("cat", "dog", "ship"),
    )
    found = class_changes(result, "l2=0.1", 100)
    assert [change.label for change in found] == ["ship", "cat", "dog"]
    assert [change.mean for change in found] == pytest.approx([0.15, 0.0, -0.15])
    assert found[0].of_seeds == pytest.approx((0.2, 0.1))
    assert class_changes(a_result(config, lambda item: {"val_accuracy": 0.5}, ("cat",)), "l2=0.1", 100) == []


def whole() -> StudyResult:
    """A result with something in every field."""
    curve = Curve(
        step=(3, 6),
        train_accuracy=(0.5, None),
        val_accuracy=(0.25, 0.5),
        train_loss_nats=(1.5, 0.25),
        val_loss_nats=(2.0, 1.0),
    )
    result = a_result(TUNED, lambda item: tuned(item, curve=curve, test_per_class=(0.5, 0.75)), ("cat", "dog"))
    return dataclasses.replace(result, name="mine", sizes={"train": 100, "test": 20}, made={"hours": "1"})


def test_results_go_through_json() -> None:
    assert StudyResult.from_dict(json.loads(json.dumps(whole().to_dict()))) == whole()
    member = dataclasses.replace(whole().members[0], seconds=1.23456789, checkpoint="study/run")
    fine = dataclasses.replace(whole(), config=TUNED.replace(lr=0.00123456789), members=(member, *whole().members[1:]))
    read = StudyResult.from_dict(json.loads(json.dumps(fine.to_dict())))
    assert (read.config, read.members[0].seconds, read.members[0].checkpoint) == (fine.config, 1.2346, "")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in plain values."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


GONE = "(taken out)"


def damaged(path: tuple[Any, ...], new: Any) -> Any:
    values: Any = {"all": copy.deepcopy(whole().to_dict())}
    holder, last = values, "all"
    for key in path:
        holder, last = holder[last], key
    holder[last] = new
    if new is GONE:
        del holder[last]
    return values.get("all")


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("format",), 2),
        ((), [1]),
        ((), None),
        (("config",), None),
        (("config", "arms"), ["none"]),
        (("config", "bogus"), 1),
        (("members",), 3),
        (("members", 0), "x"),
        (("members", 0, "bogus"), 1),
        (("members", 0, "val_accuracy"), 1.5),
        (("members", 0, "test_accuracy"), math.nan),
        (("members", 0, "train_accuracy"), "0.5"),
        (("members", 0, "curve", "step"), [3]),
        (("members", 0, "curve", "bogus"), [3, 6]),
        (("members", 0, "curve"), [3]),
        (("members", 0, "test_per_class"), 0.5),
        *((path, GONE) for path in (("config",), ("members",), ("members", 1, "seed"))),
    ],
    ids=str,
)
def test_a_damaged_study_is_told(path: tuple[Any, ...], new: Any, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(damaged(path, new)))
    with pytest.raises(LabError):
        ResultStore("study", tmp_path, StudyResult.from_dict).load_shipped("x")


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(places(whole().to_dict())), st.sampled_from([None, "x", -1, 1e400, [], {}, [[]], True]))
def test_whatever_is_damaged_ends_as_a_sentence(path: tuple[Any, ...], new: Any) -> None:
    try:
        result = StudyResult.from_dict(damaged(path, new))
    except DAMAGED:  # of these, a ResultStore makes a sentence
        return
    with contextlib.suppress(LabError):  # anything else is a traceback for somebody
        for row in summary(result):
            assert class_changes(result, row.arm, row.train_size) is not None


def test_a_study_of_other_runs_is_told() -> None:
    values = a_result(TUNED, tuned).to_dict()
    for members in ([], values["members"][1:], values["members"][::-1]):
        with pytest.raises(LabError, match="are not those that it describes"):
            StudyResult.from_dict(values | {"members": members})


def test_cost_is_counted_and_learned(lab_home: Path) -> None:
    config = StudyConfig(arms=("l2", "dropout=0.1/0.3"), seeds=2, steps=100, batch_size=10)  # 8 runs of 1,000 images
    guess = cost.cost(config, "cpu", 2)
    assert (guess.runs, guess.measured) == (8, False)
    assert guess.size_bytes == 8 * 4 * MODELS["simple_cnn"].parameters
    assert guess.seconds > START_SECONDS
    cost.remember(config, "cpu", 500.0)
    known = cost.cost(config, "cpu", 2)
    assert known.measured
    assert known.seconds == pytest.approx(START_SECONDS + 8000 / 500 / 2)
    assert cost.cost(config, "cpu", 2, done=7).seconds == pytest.approx(START_SECONDS + 2), "one run cannot be shared"
    assert cost.cost(config, "cpu", 2, done=9).runs == 0
    assert cost.cost(config, "cuda:0", 1).seconds is None, "nothing is known of a GPU"


def test_cost_counts_what_each_arm_does_to_an_image(lab_home: Path) -> None:
    def of(arm: str) -> StudyConfig:
        return StudyConfig(arms=(arm,), seeds=1, steps=100, batch_size=10)  # 2 runs of 1,000 images

    def seconds(arm: str) -> float:
        return (cost.cost(of(arm), "cpu", 1).seconds or 0.0) - START_SECONDS

    assert seconds("augmix") > seconds("pipeline=rotate:0.3 hue:0.5") > seconds("l2") > 0
    cost.remember(of("l2"), "cpu", 500.0)
    plain, views, changed = 2000 / 500, (1 + VIEWS) / 2, 1000 * AUGMIX_SECONDS * (VIEWS - 1)
    assert seconds("augmix") == pytest.approx(plain * views + changed)
    cost.remember(of("augmix"), "cpu", 2000 / seconds("augmix"))  # what it takes says the same of other arms
    assert seconds("l2") == pytest.approx(plain, rel=1e-3)
