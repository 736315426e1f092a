"""Figures: what is drawn is what was measured, with units, in light and dark."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.common.pixels import enlarge, preview
from core.common.theme import (
    CATEGORICAL,
    FIXED,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    TEXT,
    YELLOW,
    colour_of,
    for_theme,
    new_figure,
    sequential,
    with_alpha,
)
from core.images.figures import percent, top_bars
from core.images.figures_evaluation import confusion_matrix, per_class_bars, reliability
from core.inference.evaluation import CalibrationBin, ClassResult
from core.training.figures import POINTS, accuracy_curves, loss_curves, readings, train_at_evaluations
from core.training.figures_runs import METRICS, X_AXES, overlay
from tests.unit.builders import trace

CLASSES = (
    ClassResult(label="cat", n=100, accuracy=0.5, low=0.4, high=0.6),
    ClassResult(label="dog", n=100, accuracy=0.9, low=0.83, high=0.94),
)
BINS = [
    CalibrationBin(confidence=0.3, accuracy=0.2, n=10, low=0.05, high=0.5),
    CalibrationBin(confidence=0.9, accuracy=0.8, n=90, low=0.7, high=0.87),
]


def evaluation(classes: tuple[ClassResult, ...] = CLASSES) -> Any:
    """Of an evaluation, what a figure of its classes needs."""
    return SimpleNamespace(per_class=classes, confusion=((50, 50), (10, 90)))


def rows(epochs: int = 3) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        for part in (0.25, 0.5, 0.8, 1.0):
            found.append(
                {"kind": "train", "epoch": epoch - 1 + part, "train_loss_nats": 2 - part, "train_accuracy": part}
            )
        found.append(
            {"kind": "eval", "epoch": float(epoch), "step": 10 * epoch, "seconds": 3.0 * epoch, "examples": 100 * epoch}
            | {"train_loss_nats": 9.0, "train_accuracy": 0.0, "val_loss_nats": 1.0 / epoch, "val_accuracy": 0.2 * epoch}
        )
    return found


def contrast(one: str, other: str) -> float:
    """Ratio of relative luminances as WCAG 2 defines it, 1..21."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_series_have_colours_of_their_own_and_keep_them() -> None:
    assert len(set(CATEGORICAL)) == len(CATEGORICAL) == 7
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in CATEGORICAL)
    for names in (("train", "validation", "test"), ("simple_cnn", "fast_resnet", "resnet18")):
        assert all(FIXED[left] != FIXED[right] for left, right in combinations(names, 2))
    assert colour_of("fast_resnet") == FIXED["fast_resnet"]
    assert colour_of("something new") == colour_of("something new")
    assert colour_of("simple_cnn", dark=True) == FIXED["simple_cnn"]
    assert with_alpha("#0072b2", 0.5) == "rgba(0,114,178,0.5)"


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_lines_can_be_seen_on_their_background(dark: bool) -> None:
    assert contrast(TEXT[dark], PAPER[dark]) >= 7
    assert contrast(MUTED[dark], PAPER[dark]) >= 4.5
    strong = [colour for colour in CATEGORICAL if dark or colour not in (YELLOW, SKY, ORANGE, PURPLE)]
    assert min(contrast(for_theme(colour, dark), PAPER[dark]) for colour in strong) >= 3
    assert len({for_theme(colour, dark) for colour in CATEGORICAL}) == len(CATEGORICAL)
    steps = [contrast(str(colour), PAPER[dark]) for _, colour in sequential(dark)]
    assert steps == sorted(steps), "monotonic in lightness"
    assert steps[0] == pytest.approx(1)


def test_a_probability_is_never_shown_as_certain() -> None:
    values = [1.0, 0.9996, 0.996, 0.874, 0.006, 0.0, 0.004]
    assert [percent(value) for value in values] == ["99.9%", "99.9%", "99.6%", "87%", "1%", "< 1%", "< 1%"]


def test_top_bars_show_probabilities_in_percent_likeliest_on_top() -> None:
    figure = top_bars([("<b>cat</b>", 0.7), ("dog", 0.2)], dark=False)
    assert list(figure.data[0].y) == ["&lt;b>cat&lt;/b>", "dog"]
    assert list(figure.data[0].x) == pytest.approx([70, 20])
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.xaxis.title.text == "calibrated probability (%)"
    title = top_bars([("cat", 0.7)], dark=False, calibrated=False).layout.xaxis.title.text
    assert title == "probability, if it is one of these (%)"


def test_curves_hold_validation_against_training_just_before_it() -> None:
    figure = accuracy_curves(rows(), dark=False, revision="a", epochs=5)
    assert list(trace(figure, "validation").x) == [1, 2, 3]
    assert list(trace(figure, "validation").y) == pytest.approx([20, 40, 60])
    # The last quarter of each epoch holds the readings at 0.8 and 1.0.
    assert list(trace(figure, "train").y) == pytest.approx([90, 90, 90])
    assert list(trace(figure, "best").x) == [3]
    assert figure.layout.uirevision == "a"
    assert tuple(figure.layout.xaxis.range) == (0, 5)
    # Whole batches carry a run past its end.
    long = [*rows(1), {"kind": "eval", "epoch": 1.004, "val_accuracy": 0.5, "val_loss_nats": 1.0}]
    assert accuracy_curves(long, dark=False, revision="r", epochs=1.0).layout.xaxis.range == (0, 1.004)
    # Without readings the mean of the evaluation is used.
    assert train_at_evaluations([row for row in rows() if row["kind"] == "eval"], "train_loss_nats") == [9.0] * 3
    losses = loss_curves(rows(), dark=True, revision="a")
    names = [item.name for item in losses.data]
    assert names.index("validation") == names.index("train") + 1, "the gap is shaded between the two"
    assert trace(losses, "validation").fill == "tonexty"
    assert "nats" in losses.layout.yaxis.title.text


def test_curves_of_nothing_and_of_a_diverged_run_are_drawn() -> None:
    empty = accuracy_curves([], dark=False, revision="a")
    assert "best" not in [item.name for item in empty.data]
    diverged = rows(1) + [{"kind": "eval", "epoch": 2.0, "val_loss_nats": None, "val_accuracy": None}]
    assert list(trace(loss_curves(diverged, dark=False, revision="a"), "validation").y) == [1.0, None]
    assert list(trace(accuracy_curves(diverged, dark=False, revision="a"), "best").x) == [1]


def test_long_runs_are_thinned_without_moving_the_mean() -> None:
    many = [{"kind": "train", "epoch": i / 1000, "train_loss_nats": float(i % 7)} for i in range(10_000)]
    epochs, values = readings(many, "train_loss_nats")
    assert len(epochs) == len(values) <= POINTS
    assert np.mean(values) == pytest.approx(np.mean([row["train_loss_nats"] for row in many]))
    assert epochs == sorted(epochs)


def test_class_bars_carry_their_intervals() -> None:
    bars = per_class_bars(CLASSES, overall=0.7, dark=False).data[0]
    assert list(bars.y) == ["dog", "cat"]
    assert list(bars.x) == pytest.approx([90, 50])
    assert list(bars.error_x.array) == pytest.approx([4, 10])
    assert list(bars.error_x.arrayminus) == pytest.approx([7, 10])


def test_the_confusion_matrix_shows_counts_and_shares_of_the_true_class() -> None:
    heat = confusion_matrix(evaluation(), dark=False).data[0]
    assert [list(row) for row in heat.z] == [[50, 50], [10, 90]]
    assert [list(row) for row in heat.text] == [["50", "50"], ["10", "90"]]
    assert list(heat.x) == list(heat.y) == ["cat", "dog"]


def test_every_cell_with_images_can_be_clicked_and_many_classes_stay_small() -> None:
    confusion = ((50, 0), (10, 90))
    matrix = confusion_matrix(
        SimpleNamespace(per_class=CLASSES, confusion=confusion),  # type: ignore[arg-type]
        dark=False,
        clickable=True,
        chosen=(1, 0),
    )
    points = matrix.data[1]
    assert [list(cell) for cell in points.customdata] == [[0, 0], [1, 0], [1, 1]]
    assert list(zip(points.y, points.x, strict=True)) == [("cat", "cat"), ("dog", "cat"), ("dog", "dog")]
    [frame] = matrix.layout.shapes
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (-0.5, 0.5, 0.5, 1.5)
    many = tuple(dataclasses.replace(CLASSES[0], label=f"class {number}") for number in range(100))
    found = SimpleNamespace(per_class=many, confusion=[[int(i == j) for j in range(100)] for i in range(100)])
    large = confusion_matrix(found, dark=False, clickable=True)  # type: ignore[arg-type]
    assert large.layout.height < 600
    assert len(large.data[1].x) == 100
    assert len(large.layout.xaxis.tickvals) <= 30


def test_classes_called_by_digits_are_names_and_not_places_on_an_axis() -> None:
    digits = tuple(dataclasses.replace(item, label=label) for item, label in zip(CLASSES, ("10", "2")))
    matrix = confusion_matrix(evaluation(digits), dark=False)
    bars = (top_bars([("7", 0.7), ("3", 0.2)], dark=False), per_class_bars(digits, overall=0.7, dark=False))
    axes = [matrix.layout.xaxis, *(figure.layout.yaxis for figure in (matrix, *bars))]
    assert [axis.type for axis in axes] == ["category"] * 4


def test_reliability_plots_bins_where_they_are() -> None:
    figure = reliability(BINS, ece=0.1, dark=False)
    line = figure.data[1]
    assert list(line.x) == pytest.approx([30, 90])
    assert list(line.y) == pytest.approx([20, 80])
    assert list(line.error_y.array) == pytest.approx([30, 7])
    assert list(line.error_y.arrayminus) == pytest.approx([15, 10])
    assert "10.0%" in line.name
    assert list(figure.data[0].x) == list(figure.data[0].y)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("against", X_AXES)
def test_overlay_draws_each_run(metric: str, against: str) -> None:
    figure = overlay({"one": rows(2), "<b>two": rows(3)}, metric=metric, against=against, dark=False)
    assert [item.name for item in figure.data] == ["one", "&lt;b>two"]
    assert [len(item.x) for item in figure.data] == [2, 3]
    scale = METRICS[metric][1]
    assert figure.data[0].y[0] == pytest.approx(scale * rows(1)[-1][metric])
    assert figure.data[0].x[0] == rows(1)[-1][against]


@pytest.mark.parametrize("dark", [False, True])
def test_every_figure_is_plain_json_and_see_through(dark: bool) -> None:
    figures = [
        new_figure(dark=dark),
        top_bars([("cat", 1.0)], dark=dark),
        accuracy_curves(rows(), dark=dark, revision="a"),
        loss_curves(rows(), dark=dark, revision="a"),
        per_class_bars(CLASSES, overall=0.7, dark=dark),
        confusion_matrix(evaluation(), dark=dark),
        reliability(BINS, ece=0.1, dark=dark),
        overlay({"one": rows()}, metric="val_accuracy", against="epoch", dark=dark),
    ]
    for figure in figures:
        values = json.loads(figure.to_json())
        assert values["layout"]["template"]["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
        assert values["layout"]["template"]["layout"]["font"]["color"] == TEXT[dark]


@pytest.mark.slow
def test_a_figure_waits_for_a_pandas_that_another_thread_is_importing() -> None:
    script = """
import sys, threading
from core.common.theme import new_figure
thread = threading.Thread(target=lambda: __import__("pandas"))
thread.start()
while "pandas" not in sys.modules:
    pass
new_figure(dark=False).add_scatter(x=[1, 2], y=[3, 4]).update_layout(height=200)
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_keeps_its_colour_when_another_is_chosen_and_more_runs_than_colours_differ_by_dashes() -> None:
    alone = overlay({"b": rows(2)}, metric="val_accuracy", against="epoch", dark=False, places=[1])
    both = overlay({"a": rows(2), "b": rows(2)}, metric="val_accuracy", against="epoch", dark=False, places=[0, 1])
    assert alone.data[0].line == both.data[1].line != both.data[0].line
    nine = overlay({str(i): rows(2) for i in range(9)}, metric="val_accuracy", against="epoch", dark=False)
    assert len({(item.line.color, item.line.dash) for item in nine.data}) == 9


def test_enlarged_pixels_are_hard_squares() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(enlarge(rgb, 224))))
    assert shown.shape == (224, 224, 3)
    assert np.array_equal(shown[3::7, 3::7], rgb)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 32 * 32


def test_previews_are_small_and_small_images_keep_their_pixels() -> None:
    large = np.zeros((1000, 2000, 3), np.uint8)
    assert Image.open(io.BytesIO(preview(large, 448))).size == (448, 224)
    tiny = np.random.default_rng(0).integers(0, 256, (1, 5, 3), dtype=np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(preview(tiny))))
    assert np.array_equal(shown[0, :: shown.shape[1] // 5], tiny[0])
