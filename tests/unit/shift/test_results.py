"""Figures of a measurement against plain loops and the bootstrap."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from core.common.errors import LabError
from core.common.values import wilson
from core.shift.catalogue import CORRUPTIONS, SEVERITIES
from core.shift.config import ShiftConfig
from core.shift.results import CLEAN, Cell, Part, ShiftResult, interval, pack, rank_correlation, unpack

N = 400
DONE = ("gaussian_noise", "fog", "saturate")


def planted() -> ShiftResult:
    """Two checkpoints: accuracy falls with severity, the second is better by 5 points on the same images, and warns of errors."""
    random = np.random.default_rng(0)
    hard = random.random(N)

    def cell(place: int, severity: int, shift: float) -> Cell:
        right = hard < 0.8 - 0.1 * severity + 0.05 * place - shift
        flags = ~right & (random.random(N) < 0.5) if place else random.random(N) < 0.1
        return Cell(
            checkpoint=place,
            severity=severity,
            right=pack(right),
            flags=pack(flags),
            ece=0.05 * severity,
            confidence=0.7,
        )

    parts = {CLEAN: Part(corruption=CLEAN, cells=tuple(cell(place, 0, 0) for place in (0, 1)))}
    for shift, name in enumerate(DONE):
        cells = tuple(cell(place, severity, 0.05 * shift) for severity in SEVERITIES for place in (0, 1))
        parts[name] = Part(corruption=name, cells=cells)
    config = ShiftConfig(checkpoints=("a", "b"), corruptions=DONE, images=N)
    return ShiftResult(config=config, titles=("A", "B"), parts=parts, made={"date": "today"})


RESULT = planted()


def test_bits_come_back_and_damaged_ones_are_refused() -> None:
    for n in (1, 7, 8, 9, 2000):
        flags = np.random.default_rng(n).random(n) < 0.3
        assert (unpack(pack(flags)) == flags).all()
    for text in (
        "",
        "x:y",
        "9:",
        pack(np.ones(9, bool)).replace("9:", "90:"),
        "0:" + pack(np.ones(9, bool))[2:],
        "9:!!!!",
    ):
        with pytest.raises(ValueError):
            unpack(text)


def test_figures_are_those_of_plain_loops() -> None:
    rights = {
        (place, name, severity): unpack(RESULT.cell(place, name, severity).right)
        for place in (0, 1)
        for name in DONE
        for severity in SEVERITIES
    }
    # Saturate is none of the fifteen: it is measured, and kept out of the mean.
    assert RESULT.done == DONE
    assert RESULT.common == DONE[:2]
    for place in (0, 1):
        over = [rights[place, name, severity].mean() for name in DONE[:2] for severity in SEVERITIES]
        assert RESULT.mean(place).mean == pytest.approx(np.mean(over))
        assert RESULT.accuracies(place)[1, 2] == rights[place, "fog", 3].mean()
    assert RESULT.clean_accuracy(0).low == wilson(int(unpack(RESULT.cell(0, CLEAN, 0).right).sum()), N)[0]
    assert RESULT.worst(0) == "fog"
    assert RESULT.calibration_error(0) == (0.0, pytest.approx(0.15))
    assert RESULT.difference(0, 1).mean == pytest.approx(RESULT.mean(1).mean - RESULT.mean(0).mean)
    assert RESULT.difference(0, 1).sure
    assert "falls from" in RESULT.answer()
    assert "fog costs most" in RESULT.answer()


def test_intervals_are_those_of_a_bootstrap_over_images() -> None:
    random = np.random.default_rng(1)
    first, second = RESULT.per_image(0, RESULT.common), RESULT.per_image(1, RESULT.common)
    draws = random.integers(0, N, (4000, N))
    for values, found in ((first, RESULT.mean(0)), (second - first, RESULT.difference(0, 1))):
        low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
        assert found.low == pytest.approx(low, abs=0.15 * (high - low))
        assert found.high == pytest.approx(high, abs=0.15 * (high - low))
    # Paired: far narrower than two intervals side by side.
    single, paired = RESULT.mean(0), RESULT.difference(0, 1)
    assert paired.high - paired.low < 0.5 * (single.high - single.low)


def test_several_intervals_hold_at_once_and_one_image_says_nothing() -> None:
    values = np.random.default_rng(2).normal(0.3, 1, 100)
    one, three = interval(values), interval(values, 3)
    half = stats.norm.ppf((1 + 0.95 ** (1 / 3)) / 2) * values.std(ddof=1) / 10
    assert three.high - three.mean == pytest.approx(half)
    assert three.high > one.high
    assert (interval(values[:1]).low, interval(values[:1]).high) == (-1, 1)


def test_whether_the_warning_rises_with_the_errors() -> None:
    blind, good = RESULT.warning(0), RESULT.warning(1)
    assert good.right == 0
    assert good.wrong == pytest.approx(0.5, abs=0.05)
    assert blind.wrong == pytest.approx(blind.right, abs=0.05)
    assert good.correlation is not None
    assert good.correlation > 0.9
    first, second = np.array([1, 2, 2, 5.0]), np.array([3, 1, 4, 9.0])
    assert rank_correlation(first, second) == pytest.approx(stats.spearmanr(first, second)[0])
    assert rank_correlation(first, np.ones(4)) is None


def test_a_result_survives_json_and_a_damaged_one_does_not() -> None:
    values = json.loads(json.dumps(RESULT.to_dict()))
    again = ShiftResult.from_dict(values)
    assert again.to_dict() == RESULT.to_dict()
    assert again.summary() == RESULT.summary()
    rows = RESULT.summary()["checkpoints"]
    assert rows[1]["difference"]["mean"] == pytest.approx(RESULT.difference(0, 1).mean)
    assert "difference" not in rows[0]
    for damage in (
        {"titles": ["A"]},
        {"parts": [values["parts"][0] | {"corruption": "rain"}]},
        {"parts": [values["parts"][0] | {"cells": values["parts"][0]["cells"][:1]}]},
        {"parts": [values["parts"][0] | {"cells": [values["parts"][0]["cells"][0] | {"ece": 2.0}]}]},
        {"config": {"checkpoints": ["a", "a"]}},
        {"format": 9},
    ):
        with pytest.raises((LabError, ValueError, TypeError, LookupError)):
            ShiftResult.from_dict(values | damage)


def test_without_a_corruption_there_is_the_clean_figure_alone() -> None:
    only = dataclasses.replace(RESULT, parts={CLEAN: RESULT.parts[CLEAN]})
    assert "clean images" in only.answer()
    assert "mean" not in only.summary()["checkpoints"][0]
    assert not only.complete
    extra = dataclasses.replace(RESULT, parts={name: RESULT.parts[name] for name in (CLEAN, "saturate")})
    assert extra.common == ("saturate",)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"checkpoints": ()}, "Choose 1 to 12 checkpoints"),
        ({"checkpoints": ("a", "a")}, "each once"),
        ({"corruptions": ("rain",)}, "no corruption named 'rain'"),
        ({"corruptions": ()}, "No corruption is chosen"),
        ({"images": 0}, "images=0"),
        ({"files": "mine"}, "files='mine'"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(values: dict[str, object], words: str) -> None:
    with pytest.raises(LabError, match=words):
        ShiftConfig(**values)


def test_corruptions_stand_in_one_order() -> None:
    assert ShiftConfig(corruptions=("fog", "gaussian_noise", "fog")).corruptions == ("gaussian_noise", "fog")
    assert list(CORRUPTIONS)[-1] == "saturate"
