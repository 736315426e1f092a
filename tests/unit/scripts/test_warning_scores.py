"""The comparison of warning scores: it finds what was planted, and adopts nothing on noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from scripts.warning_scores import Draw, Row, adopts, compare, nearest

SETS = ("emoji", "textures", "patterns")


def draws(shift: dict[str, tuple[float, float]], *, seed: int = 0, n: int = 400) -> list[Draw]:
    """Three seeds and two classes left out, normal scores. shift: of a set, how far energy and distance lie above those of
    the dataset's own images."""
    random = np.random.default_rng(seed)
    return [
        Draw(
            seed=number,
            group=group,
            calibration=random.normal(size=(n, 2)),
            test=random.normal(size=(n, 2)),
            foreign={name: random.normal(size=(n, 2)) + shift.get(name, (0.0, 0.0)) for name in SETS},
        )
        for number in range(3)
        for group in range(2)
    ]


def row_of(rows: list[Row], score: str, name: str) -> Row:
    return next(row for row in rows if (row.score, row.set) == (score, name))


def test_a_distance_that_knows_more_than_energy_is_adopted() -> None:
    rows = compare(draws(dict.fromkeys(SETS, (0.0, 8.0))), resamples=100)
    assert adopts(rows)
    both = row_of(rows, "both", "mean")
    assert both.gain == pytest.approx(0.95, abs=0.03)
    assert both.interval[0] < both.gain < both.interval[1]
    assert row_of(rows, "distance", "emoji").auroc > 0.99
    assert row_of(rows, "energy", "emoji").auroc == pytest.approx(0.5, abs=0.03)
    assert row_of(rows, "energy", "emoji").passes == pytest.approx(0.95, abs=0.02)
    assert row_of(rows, "energy", "emoji").false_alarms == pytest.approx(0.05, abs=0.02)


def test_noise_is_adopted_by_chance_alone() -> None:
    found = [compare(draws({}, seed=seed, n=150), resamples=50) for seed in range(12)]
    intervals = [row_of(rows, "both", "mean").interval for rows in found]
    assert sum(low <= 0 <= high for low, high in intervals) >= 9
    assert sum(map(adopts, found)) <= 1


def test_a_set_that_gets_much_worse_or_a_gain_on_computed_images_alone_is_not_adopted() -> None:
    worse = compare(draws({"emoji": (0.0, 8.0), "textures": (3.0, -3.0)}), resamples=60)
    assert row_of(worse, "both", "mean").interval[0] > 0
    assert not adopts(worse)
    computed = compare(draws({"emoji": (3.0, 0.0), "textures": (3.0, 0.0), "patterns": (0.0, 8.0)}), resamples=60)
    assert row_of(computed, "both", "patterns").interval[0] > 0.5
    assert not adopts(computed)


def test_the_sum_is_in_standard_deviations_of_the_calibration_images() -> None:
    first = draws({"emoji": (1.0, 1.0)})
    scaled = [
        dataclasses.replace(
            draw,
            calibration=draw.calibration * (100, 0.1) + (7, -3),
            test=draw.test * (100, 0.1) + (7, -3),
            foreign={name: values * (100, 0.1) + (7, -3) for name, values in draw.foreign.items()},
        )
        for draw in first
    ]
    for one, other in zip(compare(first, resamples=5), compare(scaled, resamples=5), strict=True):
        assert one.passes == pytest.approx(other.passes)
        assert one.auroc == pytest.approx(other.auroc)


def test_distances_are_those_to_the_fifth_nearest_on_the_unit_sphere() -> None:
    random = np.random.default_rng(0)
    one, two = (random.normal(size=(n, 7)).astype(np.float32) for n in (20, 50))
    on_sphere = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (one, two)]
    wanted = np.sort(np.linalg.norm(on_sphere[0][:, None] - on_sphere[1], axis=2), axis=1)[:, 4]
    assert nearest(one, two) == pytest.approx(wanted, abs=1e-3)
