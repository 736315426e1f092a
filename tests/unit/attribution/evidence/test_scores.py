"""What follows from the values of a report: means with intervals, margins over the controls, and what may be said of them."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from core.attribution.evidence.scores import (
    ImageScores,
    Interval,
    Report,
    ReportConfig,
    build_report,
    group_of,
    interval,
    label_of,
)
from core.attribution.methods.registry import METHODS, get_method


def planted(scores: dict[str, list[float]]) -> Report:
    """A report whose scores are these; deletion is 0.1 everywhere, milliseconds are the image's place."""
    config = ReportConfig(
        checkpoint="planted",
        title="Planted",
        fingerprint="f",
        dataset="cifar10",
        classes=("a", "b"),
        requested=len(scores["edges"]),
        methods={name: get_method(name).settings() for name in scores if name in METHODS},
    )
    return build_report(
        config,
        [
            ImageScores(
                index=place,
                label=0,
                target=1,
                values={
                    name: {"insertion": value[place] + 0.1, "deletion": 0.1}
                    | ({"milliseconds": float(place), "other": 0.1} if name in METHODS else {})
                    for name, value in scores.items()
                },
            )
            for place in range(len(scores["edges"]))
        ],
    )


def drawn(seed: int, n: int = 40) -> dict[str, np.ndarray]:
    """Scores 0..0.9 or so: `saliency` beats all, `deeplift` is as good as edges, `lrp` as a random map."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.0, 0.6, n)  # images differ more than methods
    above = {"random": 0.0, "edges": 0.1, "blob": 0.05, "saliency": 0.16, "deeplift": 0.105, "lrp": 0.0}
    return {name: np.round(image + shift + rng.normal(0, 0.02, n), 5) for name, shift in above.items()}


def test_rows_are_what_the_values_say() -> None:
    values = drawn(0)
    found = planted({name: column.tolist() for name, column in values.items()})
    rows = {row.name: row for row in found.rows()}
    assert [row.name for row in found.rows()] == ["saliency", "deeplift", "lrp", "random", "edges", "blob"]
    assert [row.control for row in found.rows()] == [False] * 3 + [True] * 3
    row, own = rows["saliency"], values["saliency"]
    low, high = stats.t.interval(0.95, len(own) - 1, own.mean(), stats.sem(own))
    assert (row.score.mean, row.score.low, row.score.high) == pytest.approx((own.mean(), low, high))
    assert row.insertion.mean == pytest.approx(own.mean() + 0.1)
    assert row.infidelity is None
    differences = own - values["edges"]
    # Twelve margins, each at 1 - 0.05 / 12, hold together.
    low, high = stats.t.interval(1 - 0.05 / 12, len(own) - 1, differences.mean(), stats.sem(differences))
    margin = row.margins["edges"]
    assert (margin.mean, margin.low, margin.high) == pytest.approx((differences.mean(), low, high))
    assert row.other.mean == pytest.approx(0.1)
    assert row.margins["other"].mean == pytest.approx(own.mean() - 0.1)
    controls = np.max([values[name] for name in ("random", "edges", "blob")], axis=0)
    assert row.beats_all == np.mean(own > np.maximum(controls, 0.1))
    assert row.milliseconds.median == statistics.median(range(len(own)))
    assert row.milliseconds.p95 == pytest.approx(np.percentile(np.arange(len(own)), 95))
    assert (row.label, row.group) == ("better than the controls", "passes")
    assert (rows["lrp"].group, rows["edges"].group) == ("fails", "")
    assert rows["deeplift"].label == "no better than edges"
    assert rows["lrp"].label == "no better than chance"
    assert rows["edges"].label == ""
    assert rows["edges"].margins == {}
    assert rows["edges"].title == "Edge detector (Sobel)"


def test_images_that_differ_hide_nothing_that_is_paired() -> None:
    """The scores' own intervals overlap; the differences on the same images are clear."""
    rows = {row.name: row for row in planted({key: value.tolist() for key, value in drawn(1).items()}).rows()}
    best, edges = rows["saliency"].score, rows["edges"].score
    assert best.low < edges.high
    assert rows["saliency"].margins["edges"].low > 0


def test_a_label_needs_the_whole_interval() -> None:
    def margin(low: float) -> Interval:
        return Interval(mean=low + 1, low=low, high=low + 2, n=9)

    above = {"random": margin(0.1), "edges": margin(0.1), "blob": margin(0.1), "other": margin(0.1)}
    assert label_of(above) == "better than the controls"
    assert group_of(above) == "passes"
    assert group_of(above | {"blob": margin(-0.01)}) == "unclear"
    assert group_of(above | {"blob": margin(-2.5)}) == "fails"
    assert label_of(above | {"other": margin(-0.01)}) == "no better than its map of another image"
    assert label_of(above | {"blob": margin(-0.01)}) == "no better than a centre blob"
    assert label_of(above | {"blob": margin(-0.01), "edges": margin(0.0)}) == "no better than edges"
    assert label_of(above | {"edges": margin(-1.0), "random": margin(-0.2)}) == "no better than chance"


def test_an_interval_leaves_out_what_is_not_known() -> None:
    found = interval(np.array([1.0, math.nan, 3.0]))
    assert (found.mean, found.n) == (2.0, 2)
    assert found.high == pytest.approx(2 + stats.t.ppf(0.975, 1))
    assert interval(np.array([1.0, math.nan])) is None


def test_a_blank_map_has_no_score_and_counts_for_nothing() -> None:
    values = {name: column.tolist() for name, column in drawn(2).items()}
    whole = planted(values)
    columns = {name: dict(figures) for name, figures in whole.values.items()}
    for figure in ("insertion", "deletion"):
        columns["saliency"][figure] = (None, *columns["saliency"][figure][1:])
    found = Report(config=whole.config, images=whole.images, labels=whole.labels, targets=whole.targets, values=columns)
    again = Report.from_dict(found.to_dict())
    assert again == found
    row = {row.name: row for row in again.rows()}["saliency"]
    assert (row.score.n, row.margins["edges"].n, row.infidelity) == (39, 39, None)
    assert row.score.mean == pytest.approx(np.mean(values["saliency"][1:]))
