"""The comparison of starts: what ships, its verdicts, and its figure."""

from __future__ import annotations

import json
import statistics

import pytest

from core.common.errors import LabError
from core.images.figures_starts import starts_figure
from core.images.starts import BASELINE, StartRun, Starts, shipped_starts
from tests.unit.builders import trace


def made_up(gain: float) -> Starts:
    runs = [
        StartRun(arm=arm, train_size=size, seed=seed, test_accuracy=0.4 + 0.01 * seed + more)
        for seed in range(3)
        for size in (100, 1000)
        for arm, more in ((BASELINE, 0.002 * (size == 100 and seed == 1)), ("other", gain))
    ]
    return Starts(arms={BASELINE: "Plain", "other": "Other"}, runs=tuple(runs), classes=10, test_images=500, made={})


def test_a_difference_is_judged_by_pairs_of_one_seed() -> None:
    assert [each["other"].kind for each in made_up(0.2).verdicts().values()] == ["helps", "helps"]
    assert made_up(0.0).verdicts()[100]["other"].kind == "noise"


def test_it_survives_json_and_refuses_what_cannot_be() -> None:
    found = made_up(0.1)
    assert Starts.from_dict(json.loads(found.to_json())) == found
    broken = json.loads(found.to_json())
    broken["runs"][0]["test_accuracy"] = 1.4
    with pytest.raises((LabError, ValueError)):
        Starts.from_dict(broken)


def test_what_ships_is_whole() -> None:
    found = shipped_starts()
    assert found is not None
    for size in (100, 1000, 10_000):
        for arm in found.arms:
            assert sorted(found.accuracies(arm, size)) == [0, 1, 2], (arm, size)


def test_a_line_is_the_mean_over_seeds() -> None:
    found = made_up(0.1)
    line = trace(starts_figure(found, dark=False), "Other")
    assert list(line.x) == [10, 100]
    assert line.y[0] == pytest.approx(100 * statistics.fmean(found.accuracies("other", 100).values()))
