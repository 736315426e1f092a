"""Figures of a recipe: what is drawn is what was measured, in its units, and what is missing is not drawn."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import plotly.graph_objects as go
import pytest

from core.common.theme import PAPER, TEXT
from core.compression.figures import COSTS, pareto, pareto_words
from core.compression.figures_effects import damage, ratios
from core.compression.figures_labels import Point, label_places, log_ticks, spread
from core.compression.figures_layers import WHAT, histograms, layer_bars, sensitivity_curves, short_names
from core.compression.figures_students import soft_labels, students
from core.compression.measuring.sensitivity import SensitivityRow
from core.compression.results import SUBJECTS, Layer
from tests.unit.builders import trace
from tests.unit.compression import synthetic_results as made

RESULT, TEXTS, DISTILLED = made.image_result(), made.text(), made.distilled()


def notes(figure: go.Figure) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def scan(layers: int = 3, **values: Any) -> list[SensitivityRow]:
    rows = [SensitivityRow(layer="", amount=0.0, **{name: of(0.0, 0) for name, of in values.items()})]
    for number in range(layers):
        for amount in (0.5, 0.9):
            own = {name: of(amount, number) for name, of in values.items()}
            rows.append(SensitivityRow(layer=f"blocks.{number}.conv", amount=amount, **own))
    return rows


def everything(dark: bool) -> list[go.Figure]:
    last = RESULT.variants[-1].layers
    return [
        *(pareto(RESULT, cost, dark=dark) for cost in COSTS),
        pareto(TEXTS, "size_bytes", dark=dark),
        damage(RESULT, ["5-int8"], dark=dark),
        ratios(RESULT, dark=dark),
        ratios(TEXTS, dark=dark),
        students(DISTILLED, dark=dark),
        soft_labels(DISTILLED, dark=dark),
        *(layer_bars(made.layers(), last, what, dark=dark) for what in WHAT),
        histograms(made.layers(), last, ["head", "whiten"], dark=dark),
        sensitivity_curves(scan(accuracy=lambda amount, number: 0.9 - amount * number / 10), dark=dark),
    ]


@pytest.mark.parametrize("dark", [False, True])
def test_figures_are_plain_json_in_the_labs_look(dark: bool) -> None:
    for figure in everything(dark):
        assert figure.data
        values = json.loads(figure.to_json())
        assert values["layout"]["template"]["layout"]["font"]["color"] == TEXT[dark]


@pytest.mark.parametrize("dark", [False, True])
def test_figures_of_nothing_say_so(dark: bool) -> None:
    empty = made.nothing_measured()
    for figure in (
        pareto(empty, "size_bytes", dark=dark),
        pareto(made.nothing_measured(text=True), "stored_bytes", dark=dark),
        pareto(TEXTS, "onnx_b1", dark=dark),
        damage(empty, ["1-float16"], dark=dark),
        damage(RESULT, [], dark=dark),
        damage(TEXTS, ["2-int8"], dark=dark),
        ratios(empty, dark=dark),
        ratios(made.only_original(), dark=dark),
        students(empty, dark=dark),
        students(RESULT, dark=dark),
        soft_labels(empty, dark=dark),
        layer_bars([], [], "macs", dark=dark),
        layer_bars(made.layers(), made.layers(), "zeros", dark=dark),
        histograms(made.layers(), made.layers(), ["no such layer"], dark=dark),
        histograms(made.layers(), made.layers(), ["blocks.0.norm"], dark=dark),
        sensitivity_curves([], dark=dark),
        sensitivity_curves([SensitivityRow(layer="", amount=0.0, accuracy=0.9)], dark=dark),
    ):
        assert not figure.data
        assert len(figure.layout.annotations) == 1
        assert figure.layout.xaxis.visible is False


def test_pareto_draws_costs_and_accuracies_with_their_intervals() -> None:
    figure = pareto(RESULT, "size_bytes", dark=False)
    variants, original = trace(figure, "variant"), trace(figure, "original")
    assert list(variants.x) == pytest.approx([6.4, 1.64, 1.64, 1.64, 0.44])
    assert list(variants.y) == pytest.approx([100 * item.accuracy for item in RESULT.variants if item.accuracy])
    assert list(variants.error_y.array) == pytest.approx([0.45] * 5)
    assert list(variants.error_y.arrayminus) == pytest.approx([0.48] * 5)
    assert (list(original.x), list(original.y)) == (pytest.approx([7.899]), pytest.approx([94.33]))
    assert [(line.x0, line.y0) for line in figure.layout.shapes] == [(7.899, 0), (0, pytest.approx(94.33))]
    assert figure.layout.xaxis.type == "log"
    low, high = (10**end for end in figure.layout.xaxis.range)
    assert low < 0.44
    assert high > 7.899
    assert "MB" in figure.layout.xaxis.title.text
    assert "%" in figure.layout.yaxis.title.text
    assert all("e" not in name for name in figure.layout.xaxis.ticktext)
    # The last step of the recipe is larger than what came between.
    assert variants.marker.size[-1] > variants.marker.size[0]
    assert "int8" in variants.customdata[-1]
    assert "18 times as small" in variants.customdata[-1]


def test_the_front_is_a_step_line() -> None:
    front = trace(pareto(RESULT, "size_bytes", dark=False), "Pareto front")
    assert front.line.shape == "hv"
    assert list(front.x)[:-1] == pytest.approx([0.44, 1.64, 6.4, 7.899])
    assert list(front.y)[-2:] == pytest.approx([94.33, 94.33])
    alone = pareto(made.only_original(), "size_bytes", dark=False)
    assert [item.name for item in alone.data] == ["original"]
    assert len(alone.layout.xaxis.tickvals) >= 2


def test_pareto_of_latencies_is_in_ms_and_marks_what_is_slower_right_of_the_original() -> None:
    figure = pareto(RESULT, "onnx_b1", dark=True)
    original = trace(figure, "original").x[0]
    assert original == pytest.approx(4.8)
    assert trace(figure, "variant").x[0] == pytest.approx(4.8 * 5.9 / 4.9)
    assert trace(figure, "variant").x[-1] == pytest.approx(4.8 * 0.8 / 4.9)
    assert "ms" in figure.layout.xaxis.title.text


def test_pareto_of_text_has_less_loss_on_top() -> None:
    figure = pareto(TEXTS, "size_bytes", dark=False)
    bottom, top = figure.layout.yaxis.range
    assert bottom > 1.48 > 1.452 > top
    variants = trace(figure, "variant")
    assert list(variants.y) == pytest.approx([1.473, 1.476])
    assert list(variants.error_y.array) == pytest.approx([0.004, 0.004])
    assert "nats" in figure.layout.yaxis.title.text


def test_controls_are_hollow_and_have_no_label() -> None:
    figure = pareto(DISTILLED, "stored_bytes", dark=True)
    assert trace(figure, "no teacher").marker.color == PAPER[True]
    assert len(trace(figure, "no teacher").x) == len(trace(figure, "variant").x) == 3
    assert notes(figure).count("1") == 1


def test_pareto_in_words_names_all_that_is_drawn() -> None:
    words = pareto_words(RESULT, "onnx_b1")
    assert words.startswith("Test accuracy against ONNX Runtime, one image")
    assert all(f"{item.title}: " in words for item in RESULT.variants)
    assert words.count("on the Pareto front") == 3
    assert "(the original): 94.33% (93.9 to 94.8) at 4.80 ms" in words
    assert "1.476 nats at 3.52 MB, on the Pareto front" in pareto_words(TEXTS, "size_bytes")
    assert "nothing is measured" in pareto_words(made.nothing_measured(), "size_bytes")


def test_names_cannot_be_markup() -> None:
    first, last = RESULT.measured[0], dataclasses.replace(RESULT.measured[1], title="<b>int8", layers=())
    result = dataclasses.replace(RESULT, measured=(first, last), classes=("<i>cat", *RESULT.classes[1:]))
    for figure in (pareto(result, "size_bytes", dark=False), damage(result, [last.id], dark=False)):
        assert "<b>int8" not in figure.to_json().replace("&lt;", "")
        assert "<i>" not in figure.to_json()


def test_damage_puts_the_worst_class_on_top() -> None:
    figure = damage(RESULT, ["2-prune_channels", "5-int8"], dark=False)
    assert [item.name for item in figure.data] == ["2 prune 50% of the channels", "5 int8"]
    first = RESULT.measured[0].per_class
    changes = {label: 100 * (own - old) for label, own, old in zip(RESULT.classes, RESULT.variants[1].per_class, first)}
    order = sorted(changes, key=lambda label: changes[label])
    assert list(figure.layout.yaxis.ticktext) == order
    assert list(figure.data[0].x) == pytest.approx([changes[label] for label in order])
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol
    assert "points" in figure.layout.xaxis.title.text
    # Two variants of one class do not cover each other.
    assert figure.data[0].y[0] != figure.data[1].y[0]


def test_one_network_far_below_does_not_press_the_others_into_a_line() -> None:
    good = [item for item in RESULT.variants if item.delta_points > -1]
    lost = next(item for item in RESULT.variants if item.delta_points < -1)
    bad = dataclasses.replace(lost, accuracy=0.32, accuracy_interval=(0.31, 0.33), delta_points=-62.3)
    result = dataclasses.replace(RESULT, measured=(RESULT.first, bad, *good))
    figure = pareto(result, "size_bytes", dark=False)
    variants = trace(figure, "variant")
    low, high = figure.layout.yaxis.range
    assert high - low < 5, "the others can be told apart"
    assert list(variants.marker.symbol).count("triangle-down") == 1
    place = list(variants.marker.symbol).index("triangle-down")
    assert low < variants.y[place] < min(item.accuracy_interval[0] for item in good) * 100
    assert "32.0" in variants.customdata[place], "its box tells the truth"
    assert any(note.text == f"{bad.number} at 32%" for note in figure.layout.annotations)
    assert "32.0" in pareto_words(result, "size_bytes")
    few = dataclasses.replace(result, measured=(RESULT.first, bad, good[0]))
    assert pareto(few, "size_bytes", dark=False).layout.yaxis.range[0] < 32


def test_ratios_have_what_got_worse_left_of_the_original() -> None:
    figure = ratios(RESULT, dark=False)
    onnx = trace(figure, "ONNX ×1")
    assert list(onnx.x) == pytest.approx([item.latency_ms["onnx_b1"].speedup for item in RESULT.variants])
    assert onnx.x[0] < 1 < onnx.x[-1]
    assert (onnx.textposition[0], onnx.textposition[-1]) == ("middle left", "middle right")
    assert list(onnx.text)[::4] == ["0.83×", "6.1×"]
    assert list(trace(figure, "stored file").x)[-1] == pytest.approx(7_905_000 / 420_000)
    assert 1 in figure.layout.xaxis.tickvals
    assert [line.x0 for line in figure.layout.shapes if line.x0 == line.x1] == [1]
    assert list(figure.layout.yaxis.ticktext)[-1] == "5 int8"
    assert "writing" in ratios(TEXTS, dark=False).layout.title.text
    assert "PyTorch" not in ratios(TEXTS, dark=False).layout.title.text
    assert len(ratios(DISTILLED, dark=False).layout.yaxis.ticktext) == 1


def test_ratios_leave_out_what_was_not_measured() -> None:
    first, last = RESULT.measured[0], dataclasses.replace(RESULT.variants[-1], latency_ms={}, size_bytes=None)
    figure = ratios(dataclasses.replace(RESULT, measured=(first, last)), dark=False)
    assert [item.name for item in figure.data if item.name] == ["stored file"]


def test_students_stand_beside_their_controls() -> None:
    figure = students(DISTILLED, dark=False)
    taught, alone = trace(figure, "with teacher"), trace(figure, "no teacher")
    assert list(taught.y) == list(alone.y) == [0, 1, 2, 3]
    differences = [ours - theirs for ours, theirs in zip(taught.x, alone.x)]
    assert differences[:3] == pytest.approx([0.7, 0.35, 0.8])
    assert differences[3] == pytest.approx(sum(differences[:3]) / 3)
    mean = figure.data[-1]
    assert (mean.x[0], mean.error_x.array[0]) == pytest.approx((0.61667, 0.58705), abs=1e-4)
    assert notes(figure) == ["+0.62 ± 0.59 points: the teacher helped"]
    low, high = figure.layout.xaxis2.range
    assert low < 0 < 1.21 < high


def test_one_seed_has_no_interval_and_no_verdict() -> None:
    figure = students(made.distilled(1), dark=True)
    assert figure.data[-1].error_x.array is None
    assert notes(figure) == ["+0.7 points: one seed: no verdict"]
    assert notes(students(made.distilled(gain=0.0), dark=True)) == ["+0.0 ± 0.6 points: within seed noise"]


def test_the_truth_is_left_out_of_the_colours_of_soft_labels() -> None:
    figure = soft_labels(DISTILLED, dark=False)
    right, wrong = trace(figure, "right"), trace(figure, "wrong")
    size = len(made.CLASSES)
    assert all((right.z[row][column] is None) == (row != column) for row in range(size) for column in range(size))
    assert all((wrong.z[row][column] is None) == (row == column) for row in range(size) for column in range(size))
    assert wrong.zmax == pytest.approx(max(value for row in wrong.z for value in row if value is not None))
    assert wrong.zmax < 10
    assert right.colorscale[0][1] == right.colorscale[1][1]
    many = tuple(f"class {number}" for number in range(20))
    crowded = dataclasses.replace(DISTILLED, classes=many, soft_labels=made.soft_labels(many))
    assert trace(soft_labels(crowded, dark=True), "wrong").texttemplate is None
    assert trace(soft_labels(crowded, dark=True), "wrong").showscale


def layer(name: str, parameters: int, **changes: Any) -> Layer:
    return dataclasses.replace(Layer(name=name, kind="conv", parameters=parameters, macs=9, zeros=0.0), **changes)


def test_bars_follow_a_layer_that_was_split() -> None:
    before = [layer("a", 100), layer("b.conv", 400), layer("c", 50), layer("n", 7, kind="norm")]
    after = [layer("a", 100), layer("b.conv.0", 60), layer("b.conv.1", 70), layer("c", 40)]
    figure = layer_bars(before, after, "parameters", dark=False)
    assert list(figure.layout.yaxis.ticktext) == ["a", "b.conv", "b.conv.0", "b.conv.1", "c", "norms"]
    assert list(trace(figure, "before").x) == [100, 400, None, None, 50, 7]
    assert list(trace(figure, "after").x) == [100, None, 60, 70, 40, 0]
    assert trace(figure, "after").customdata[1][1] == "not there"
    shares = layer_bars([layer("a", 1)], [layer("a", 1, zeros=0.25)], "zeros", dark=False)
    assert (list(trace(shares, "before").x), list(trace(shares, "after").x)) == ([0], [25])


def test_the_small_layers_of_a_deep_network_are_summed() -> None:
    deep = [layer(f"layer{number}", 100 - number) for number in range(60)]
    figure = layer_bars(deep, deep[:40], "parameters", dark=False)
    assert len(figure.layout.yaxis.ticktext) == 26
    assert figure.layout.yaxis.ticktext[-1] == "35 smaller ones"
    assert sum(trace(figure, "before").x) == sum(item.parameters for item in deep)
    assert sum(trace(figure, "after").x) == sum(item.parameters for item in deep[:40])


def test_histograms_show_the_spike_of_zeros_on_a_log_axis() -> None:
    after = made.layers(zeros=0.9)
    figure = histograms(made.layers(), after, ["blocks.0.conv", "head", "blocks.0.conv"], dark=False)
    assert [item.name for item in figure.data] == ["before", "after"] * 2
    assert [item.showlegend for item in figure.data] == [True, True, False, False]
    assert figure.layout.yaxis.type == figure.layout.yaxis2.type == "log"
    spike = next(item for item in after if item.name == "blocks.0.conv").histogram
    assert max(figure.data[1].y) == max(spike)
    assert 10 ** figure.layout.yaxis.range[1] > max(spike)
    assert min(figure.data[1].y) == 0.5
    assert "blocks.0.conv" in notes(figure)


def test_sensitivity_curves_begin_with_the_network_as_it_is() -> None:
    figure = sensitivity_curves(scan(accuracy=lambda amount, number: 0.9 - amount * number / 10), dark=False)
    assert [list(item.x) for item in figure.data] == [[0, 50, 90]] * 3
    assert list(figure.data[2].y) == pytest.approx([90, 80, 72])
    assert notes(figure) == ["blocks.0.conv", "blocks.1.conv", "blocks.2.conv"]
    assert figure.layout.shapes[0].y0 == pytest.approx(90)
    heights = sorted(note.y for note in figure.layout.annotations)
    assert heights[0] < heights[1] < heights[2]
    text = sensitivity_curves(scan(loss_nats=lambda amount, number: 1.4 + amount * number), dark=True)
    assert list(text.data[1].y) == pytest.approx([1.4, 1.9, 2.3])
    assert text.layout.yaxis.range[0] > text.layout.yaxis.range[1]
    assert [note.y for note in text.layout.annotations] == sorted((n.y for n in text.layout.annotations), reverse=True)


def test_names_of_many_layers_stay_apart() -> None:
    rows = scan(20, accuracy=lambda amount, number: 0.9 - amount / 10)
    figure = sensitivity_curves(rows, dark=False)
    places = sorted(note.y * (figure.layout.height - 80) for note in figure.layout.annotations)
    assert min(high - low for low, high in itertools.pairwise(places)) >= 14.9
    assert len({(item.line.color, item.line.dash) for item in figure.data}) > 15


def test_short_names_stay_different() -> None:
    assert short_names(["head", "<b>"]) == ["head", "&lt;b>"]
    long = [f"{start}.a.very.long.path.to.a.layer" for start in ("one", "two")]
    assert len(set(short_names(long))) == 2
    assert all(len(name) <= 18 for name in short_names(long))


@pytest.mark.parametrize("span", [(0.38, 9.1), (1.0, 2.0), (3.2, 7.9), (0.001, 900.0), (50.0, 52.0), (0.9, 1.15)])
def test_ticks_of_a_log_axis_are_round_and_few(span: tuple[float, float]) -> None:
    values, names = log_ticks(*span)
    assert 2 <= len(values) <= 6
    assert values == sorted(values)
    assert all(span[0] * 0.99 <= value <= span[1] * 1.01 for value in values)
    assert [float(name) for name in names] == pytest.approx(values)
    assert all(len(name) <= 5 for name in names)


def test_labels_cover_neither_marks_nor_each_other() -> None:
    points = [Point(x=100 + 14 * (n % 4), y=60 + 9 * (n // 4), label=str(n), up=12, down=12) for n in range(12)]
    places = label_places(points, 300, 200, lines=[(0, 59, 300, 61)])
    boxes = [(x, y, x + 7 * len(p.label) + 2, y + 15) for p, place in zip(points, places) if place for x, y in [place]]
    assert 1 <= len(boxes) < len(points)
    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in points:
            assert not (left < other.x < right and top < other.y < bottom)
        assert not (top < 60 < bottom)
        for one in boxes[number + 1 :]:
            assert left >= one[2] or right <= one[0] or top >= one[3] or bottom <= one[1]
    assert label_places([Point(x=50, y=50, label="a")], 300, 200) != [None]
    assert label_places([Point(x=5, y=5, label="far too long for this")], 20, 20) == [None]


def test_spread_moves_no_more_than_it_must() -> None:
    assert spread([10, 100], 15, 0, 200) == [10, 100]
    assert spread([50, 50, 50], 10, 0, 200) == pytest.approx([40, 50, 60])
    assert spread([0, 0], 10, 0, 200) == pytest.approx([0, 10])
    assert spread([200, 30, 199], 10, 0, 200) == pytest.approx([200, 30, 190])
    assert spread([], 10, 0, 200) == []


def test_every_latency_has_a_name_on_the_axis() -> None:
    assert set(SUBJECTS) < set(COSTS)
    assert all(math.isfinite(figure.layout.height) for figure in everything(False))
