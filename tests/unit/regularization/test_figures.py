"""Figures of a study: what is drawn is what was found, in percent and points, and what is missing is not drawn."""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
from typing import Any

import plotly.graph_objects as go
import pytest

from core.common.theme import TEXT, lines_of
from core.regularization.analysis import ArmResult, ClassChange, StrengthPoint, summary
from core.regularization.figures import arm_colour, arm_dash, effects, sizes
from core.regularization.figures_curves import arm_curves, curve_bounds
from core.regularization.figures_technique import class_changes, strength
from core.regularization.results import Curve, MemberResult, StudyResult, waiting
from core.regularization.study import StudyConfig
from core.regularization.techniques import TECHNIQUES
from core.regularization.verdict import Verdict
from tests.unit.builders import trace

HELPS = Verdict(kind="helps", effect=0.031, half_width=0.012, seeds=3, words="helps (+3.1 ± 1.2 points)")
NOISE = Verdict(kind="noise", effect=-0.004, half_width=0.02, seeds=3, words="within seed noise (−0.4 ± 2.0 points)")
HURTS = Verdict(kind="hurts", effect=-0.05, half_width=0.015, seeds=3, words="hurts (−5.0 ± 1.5 points)")
BASE = Verdict(kind="baseline", effect=None, half_width=None, seeds=3, words="baseline")
UNKNOWN = Verdict(kind="none", effect=None, half_width=None, seeds=1, words="no verdict: one seed says nothing")


def row(arm: str, verdict: Verdict, size: int = 500, mean: float | None = 0.5, **changes: Any) -> ArmResult:
    known = ArmResult(
        arm=arm,
        title=arm.title(),
        train_size=size,
        variant=arm,
        label=arm,
        tried=1,
        split="test",
        seeds=3,
        mean=mean,
        sd=0.01,
        half_width=0.02,
        val_mean=mean,
        train_mean=0.9,
        gap=0.4,
        kept_step=None,
        verdict=verdict,
    )
    return dataclasses.replace(known, **changes)


ROWS = [row("dropout=0.3", HELPS, mean=0.531), row("l1=0.001", NOISE), row("none", BASE), row("mixup=0.2", HURTS)]


def curve(steps: tuple[int, ...], train: tuple[float | None, ...], val: tuple[float | None, ...]) -> Curve:
    missing = (None,) * len(steps)
    return Curve(step=steps, train_accuracy=train, val_accuracy=val, train_loss_nats=missing, val_loss_nats=missing)


def study(*curves: Curve, arm: str = "dropout=0.3", kept: tuple[int | None, ...] = ()) -> StudyResult:
    """Each curve is a seed of the arm; the baseline has not begun."""
    config = StudyConfig(arms=("none", arm), train_sizes=(500,), seeds=max(1, len(curves)), steps=100)
    members: list[MemberResult] = []
    for member in config.members():
        item = waiting(member)
        if item.variant == arm and curves:
            last = kept[member.seed] if kept else None
            item = dataclasses.replace(item, status="running", curve=curves[member.seed], kept_step=last)
        members.append(item)
    return StudyResult(config=config, members=tuple(members))


def panel(result: StudyResult, of: ArmResult = ROWS[0], **options: Any) -> go.Figure:
    return arm_curves(result, of, dark=False, revision="r", bounds=curve_bounds(result, 500), **options)


LONG = curve((50, 100), (0.4, 0.8), (0.3, 0.5))
SHORT = curve((50,), (0.6,), (0.2,))


def test_curves_are_means_over_the_seeds_that_are_there() -> None:
    result = study(LONG, SHORT)
    figure = panel(result)
    assert list(trace(figure, "train").x) == list(trace(figure, "validation").x) == [50, 100]
    assert list(trace(figure, "train").y) == pytest.approx([50, 80])
    assert list(trace(figure, "validation").y) == pytest.approx([25, 50])
    assert list(trace(figure, "validation").customdata) == [2, 1]
    assert list(trace(figure, "train, seed 1").y) == pytest.approx([60])
    assert list(trace(figure, "validation, seed 0").y) == pytest.approx([30, 50])
    gap = trace(figure, "gap")
    assert (list(gap.x), list(gap.y), gap.fill) == ([50, 100, 100, 50], pytest.approx([50, 80, 50, 25]), "toself")
    # Of seeds that are over, the mean ends with the first of them.
    over = tuple(dataclasses.replace(item, status="finished") if item.curve.step else item for item in result.members)
    ended = panel(dataclasses.replace(result, members=over))
    assert (list(trace(ended, "validation").x), list(trace(ended, "validation").y)) == ([50], pytest.approx([25]))
    assert list(trace(ended, "validation, seed 0").x) == [50, 100]


def test_weights_from_before_the_last_step_are_marked_on_their_seed() -> None:
    figure = panel(study(LONG, LONG, SHORT, kept=(50, 100, None)))
    marked = trace(figure, "weights kept")
    assert (list(marked.x), list(marked.y)) == ([50], pytest.approx([30]))
    assert "weights kept" not in {item.name for item in panel(study(LONG, kept=(100,))).data}


def test_measurements_that_are_missing_are_left_out() -> None:
    figure = panel(study(curve((50, 100), (0.4, None), (None, 0.5))))
    assert list(trace(figure, "train").x) == [50]
    assert list(trace(figure, "validation").x) == [100]
    assert not trace(figure, "gap").x
    waiting_still = panel(study())
    assert not trace(waiting_still, "train").x
    assert [note.text for note in waiting_still.layout.annotations] == ["no measurement yet"]


def test_panels_share_their_axes_and_stay_level_up_to_two_lines_of_title() -> None:
    two = "Flip + crop 2 with Label smoothing 0.1"
    one, other, three = (
        arm_curves(study(SHORT), row("l2=1", HELPS, label=label), dark=True, revision="r", bounds=(10, 90))
        for label in ("Dropout <b>", two, f"{two} with {two}")
    )
    assert (tuple(one.layout.yaxis.range), tuple(one.layout.xaxis.range)) == ((10, 90), (0, 100))
    assert one.layout.title.text == "Dropout &lt;b>"
    assert (one.layout.uirevision, one.layout.showlegend, one.layout.height) == ("r", False, 210)
    assert other.layout.title.text == "Flip + crop 2 with Label<br>smoothing 0.1"
    assert one.layout.margin.t == other.layout.margin.t < three.layout.margin.t


def test_a_number_stays_with_its_word() -> None:
    assert lines_of("Dropout 0.3 with Flip + crop 2", 19) == ["Dropout 0.3 with", "Flip + crop 2"]
    assert lines_of("Early stopping 4", 15) == ["Early", "stopping 4"]
    assert lines_of("", 9) == [""]


@pytest.mark.parametrize(
    ("curves", "expected"),
    [((), (0, 100)), ((LONG, SHORT), (10, 90)), ((curve((1, 2), (0.3, 1.0), (None, 0.004)),), (0, 102))],
)
def test_bounds_hold_every_curve(curves: tuple[Curve, ...], expected: tuple[float, float]) -> None:
    found = curve_bounds(study(*curves), 500)
    assert found == expected
    values = [100 * v for c in curves for v in (*c.train_accuracy, *c.val_accuracy) if v is not None]
    assert all(found[0] <= value <= found[1] for value in values)
    assert curve_bounds(study(*curves), 7) == (0, 100)


def names_of(figure: go.Figure) -> list[str]:
    return list(figure.layout.yaxis.ticktext)


def test_effects_and_their_intervals_are_in_points() -> None:
    figure = effects([*ROWS, row("cutmix=1", HELPS, size=5000)], 500, dark=False)
    assert names_of(figure) == ["dropout=0.3", "l1=0.001", "mixup=0.2"]
    places = list(figure.layout.yaxis.tickvals)
    assert places == sorted(places)
    assert figure.layout.yaxis.range[0] > places[-1] > places[0] > figure.layout.yaxis.range[1]
    for place, name, verdict in zip(places, ("helps", "seed noise", "hurts"), (HELPS, NOISE, HURTS)):
        drawn = trace(figure, name)
        assert list(drawn.y) == [place]
        assert list(drawn.x) == pytest.approx([100 * verdict.effect])
        assert list(drawn.error_x.array) == pytest.approx([100 * verdict.half_width])
        assert verdict.words in drawn.customdata[0]
    low, high = figure.layout.xaxis.range
    assert low < -6.5 < 0 < 4.3 < high
    assert [note.text for note in figure.layout.annotations] == ["+3.1", "−0.4", "−5.0"]
    assert "test" in figure.layout.xaxis.title.text
    assert "points" in figure.layout.xaxis.title.text


def test_verdicts_differ_by_colour_and_by_symbol() -> None:
    figure = effects(ROWS, 500, dark=False)
    looks = [(item.marker.color, item.marker.symbol) for item in figure.data]
    assert len({colour for colour, _ in looks}) == len({symbol for _, symbol in looks}) == 3
    assert all(word in figure.layout.title.text for word in ("helps", "seed noise", "hurts"))
    assert "hurts" not in effects(ROWS[:1], 500, dark=False).layout.title.text


def test_one_seed_has_a_difference_without_interval_and_other_seeds_than_the_baselines_have_none() -> None:
    rows = [row("l2=0.1", UNKNOWN, mean=0.52, seeds=1), row("none", UNKNOWN, mean=0.5, seeds=1)]
    drawn = trace(effects(rows, 500, dark=False), "one seed: no verdict")
    assert (list(drawn.x), drawn.error_x.array) == (pytest.approx([2]), None)
    rows[1] = row("none", BASE, mean=0.5, seeds=2)
    for given in (rows, rows[:1], [row("l2=0.1", UNKNOWN, mean=None, seeds=1)]):
        figure = effects(given, 500, dark=False)
        assert not figure.data
        assert names_of(figure) == ["l2=0.1"]
        assert [note.text for note in figure.layout.annotations] == ["no verdict"]


def test_many_long_names_make_a_figure_higher_and_stay_apart() -> None:
    label = "Spatial dropout 0.1 with Label smoothing 0.1 with Early stopping 4"
    figure = effects([row(f"l2={i + 1}", NOISE, label=f"<i>{label}") for i in range(20)], 500, dark=True)
    assert len(names_of(figure)) == 20
    assert names_of(figure)[0].startswith("&lt;i>Spatial")
    assert max(len(line) for line in names_of(figure)[0].replace("&lt;", "<").split("<br>")) <= 21
    gaps = [high - low for low, high in itertools.pairwise(figure.layout.yaxis.tickvals)]
    assert min(gaps) >= 15 * (names_of(figure)[0].count("<br>") + 1)
    assert figure.layout.height > 20 * min(gaps)


def test_sizes_are_drawn_with_bands_where_there_are_intervals() -> None:
    rows = [
        row(arm, BASE, size=size, mean=mean)
        for arm, start in (("none", 0.4), ("l2=0.1", 0.5))
        for size, mean in ((5000, start + 0.2), (500, start), (1000, start + 0.1))
    ]
    rows[-1] = dataclasses.replace(rows[-1], half_width=None)
    figure = sizes(rows, ["l2=0.1", "mixup=0.2"], dark=False)
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.tickvals) == [500, 1000, 5000]
    assert list(figure.layout.xaxis.ticktext) == ["500", "1,000", "5,000"]
    base, arm = (trace(figure, name) for name in ("none", "l2=0.1"))
    assert list(arm.x) == [500, 1000, 5000]
    assert list(base.y) == pytest.approx([40, 50, 60])
    assert base.line.dash == "dash"
    assert (arm.line.color, arm.line.dash) == (arm_colour("l2=0.1", dark=False), arm_dash("l2=0.1"))
    bands = [item for item in figure.data if item.fill == "toself"]
    assert [item.legendgroup for item in bands] == ["none"]
    assert list(bands[0].y) == pytest.approx([42, 52, 62, 58, 48, 38])
    # With no interval between them, the other two stand alone.
    assert list(arm.error_y.array) == pytest.approx([2, None, 2])
    assert base.error_y.array is None
    unknown = sizes([row("none", BASE, half_width=None), row("l2=0.1", HELPS, mean=None)], ["l2=0.1"], dark=False)
    assert [(item.name, item.error_y.array) for item in unknown.data] == [("none", None)]


def test_two_arms_of_one_technique_can_be_told_apart() -> None:
    rows = [row(arm, BASE, title="Dropout", label="Dropout 0.3") for arm in ("none", "dropout=0.3", "dropout=0.1/0.3")]
    figure = sizes(rows, ["dropout=0.3", "dropout=0.1/0.3"], dark=False)
    lines = [item for item in figure.data if item.mode == "lines+markers"][1:]
    assert [item.name for item in lines] == ["dropout=0.3", "dropout=0.1/0.3"]
    assert lines[0].line.color == lines[1].line.color
    assert lines[0].marker.symbol != lines[1].marker.symbol


def point(value: float, mean: float, sd: float | None = 0.01, train: float | None = 0.9) -> StrengthPoint:
    spec = f"l2={value}"
    return StrengthPoint(strength=value, variant=spec, val_mean=mean, val_sd=sd, seeds=3, gap=0.1, train_mean=train)


POINTS = [point(1.0, 0.4), point(0.03, 0.5), point(0.1, 0.6, sd=0.02, train=None)]


def test_strengths_are_in_order_and_evenly_spaced() -> None:
    figure = strength(POINTS, point(0.0, 0.45), "l2", dark=False, at=0.03)
    assert list(figure.layout.xaxis.ticktext) == ["0.03", "0.1", "1"]
    assert list(figure.layout.xaxis.tickvals) == [0, 1, 2]
    assert TECHNIQUES["l2"].unit in figure.layout.xaxis.title.text
    validation, train = trace(figure, "mean ± sd over seeds"), trace(figure, "train")
    assert list(validation.y) == pytest.approx([50, 60, 40])
    assert list(validation.error_y.array) == pytest.approx([1, 2, 1])
    assert (list(train.x), list(train.y)) == ([0, 2], pytest.approx([90, 90]))
    assert list(trace(figure, "no regularization").y) == pytest.approx([45, 45])
    assert (figure.layout.shapes[0].y0, figure.layout.shapes[0].y1) == pytest.approx((44, 46))
    assert (list(trace(figure, "ring").x), list(trace(figure, "ring").y)) == ([0], pytest.approx([50]))
    assert [(note.x, note.text) for note in figure.layout.annotations] == [(1, "best: 0.1")]


def test_strengths_without_spread_baseline_or_choice() -> None:
    figure = strength([point(1, 0.5, sd=None, train=None)], None, "batch_norm", dark=True, at=0.7)
    assert [item.name for item in figure.data] == ["validation"]
    assert figure.data[0].error_y.array is None
    assert list(figure.layout.xaxis.ticktext) == ["on"]
    assert not figure.layout.annotations
    level = strength(POINTS, point(0.0, 0.45, sd=None), "l2", dark=True)
    assert not level.layout.shapes


def test_class_changes_show_mean_and_every_seed() -> None:
    changes = [
        ClassChange(label="<b>cat", mean=0.02, of_seeds=(0.05, -0.01)),
        ClassChange(label="d" * 40, mean=-0.03, of_seeds=(-0.03,)),
    ]
    figure = class_changes(changes, dark=False)
    bars, dots = figure.data
    assert list(bars.x) == pytest.approx([2, -3])
    assert bars.marker.color[0] != bars.marker.color[1]
    assert list(dots.x) == pytest.approx([5, -1, -3])
    assert list(dots.y) == [0, 0, 1]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    assert names_of(figure)[0] == "&lt;b>cat"
    assert len(names_of(figure)[1]) <= 26
    assert class_changes(changes * 50, dark=False).layout.height > figure.layout.height == 300


@pytest.mark.parametrize("dark", [False, True])
def test_techniques_have_looks_of_their_own_whatever_their_strength(dark: bool) -> None:
    looks = {name: (arm_colour(name, dark=dark), arm_dash(name)) for name in (*TECHNIQUES, "none")}
    assert len(set(looks.values())) == len(TECHNIQUES) + 1
    assert arm_colour("dropout=0.1/0.7", dark=dark) == looks["dropout"][0]
    assert looks["none"][0] not in {colour for name, (colour, _) in looks.items() if name != "none"}
    together = [f"{one}+{other}" for one, other in itertools.combinations(TECHNIQUES, 2)]
    assert not {(arm_colour(arm, dark=dark), arm_dash(arm)) for arm in together} & set(looks.values())
    assert len({arm_dash(arm) for arm in together}) == 2
    assert arm_colour("l2=1+dropout=0.5", dark=dark) == arm_colour("dropout+l2", dark=dark)
    assert arm_dash("l2=1+dropout=0.5") == arm_dash("dropout+l2")


@pytest.mark.parametrize("dark", [False, True])
def test_figures_are_plain_json_in_the_labs_look_and_say_where_there_is_nothing(dark: bool) -> None:
    changes = [ClassChange(label="cat", mean=0.1, of_seeds=(0.1,))]
    for figure in (
        arm_curves(study(LONG), ROWS[0], dark=dark, revision="r", bounds=(0, 100)),
        effects(ROWS, 500, dark=dark),
        sizes(ROWS, ["dropout=0.3"], dark=dark),
        strength(POINTS, None, "l2", dark=dark),
        class_changes(changes, dark=dark),
    ):
        assert json.loads(figure.to_json())["layout"]["template"]["layout"]["font"]["color"] == TEXT[dark]
    for figure in (
        effects([], 500, dark=dark),
        effects([row("none", BASE)], 500, dark=dark),
        sizes([], ["l2=0.1"], dark=dark),
        strength([], point(0.0, 0.5), "l2", dark=dark),
        class_changes([], dark=dark),
    ):
        assert not figure.data
        assert len(figure.layout.annotations) == 1
        assert figure.layout.xaxis.visible is figure.layout.yaxis.visible is False


def test_what_summary_finds_is_what_is_drawn() -> None:
    config = StudyConfig(arms=("none", "l2=0.1", "mixup=0.2"), train_sizes=(500,), seeds=3)
    accuracy = {"none": (0.40, 0.42, 0.41), "l2=0.1": (0.48, 0.51, 0.49), "mixup=0.2": (0.41, 0.41, 0.42)}
    members = tuple(
        dataclasses.replace(waiting(member), status="finished", val_accuracy=accuracy[member.variant.spec][member.seed])
        for member in config.members()
    )
    rows = summary(StudyResult(config=config, members=members))
    figure = effects(rows, 500, dark=False)
    for name, arm in (("helps", "l2=0.1"), ("seed noise", "mixup=0.2")):
        differences = [ours - theirs for ours, theirs in zip(accuracy[arm], accuracy["none"])]
        assert list(trace(figure, name).x) == pytest.approx([100 * statistics.fmean(differences)])
    assert "validation" in figure.layout.xaxis.title.text
