"""Planted wrong labels are found, noise raises no doubt, and forecasts hold on learning curves that are known."""

from __future__ import annotations

import numpy as np
import pytest

from core.common.errors import LabError
from core.images import diagnosis
from core.images.diagnosis import class_quality, cross_validated, diagnose, fit_curve, forecast, likely_wrong


def clusters(number: int, classes: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 20) around a centre for each class."""
    random = np.random.default_rng(seed)
    labels = np.arange(number) % classes
    centres = random.normal(size=(classes, 20)) * apart
    return (centres[labels] + random.normal(size=(number, 20))).astype(np.float32), labels.astype(np.int64)


def test_planted_wrong_labels_are_found_and_few_others() -> None:
    features, labels = clusters(400, 4, apart=1.2)
    wrong = np.random.default_rng(1).choice(400, 20, replace=False)
    given = labels.copy()
    given[wrong] = (labels[wrong] + 1) % 4
    found = likely_wrong(cross_validated(features, given, seed=0), given)
    indices = [doubt.index for doubt in found]
    assert len(set(indices) & set(wrong)) >= 18, "recall of at least 90%"
    assert len(set(indices) - set(wrong)) <= 8, "of 380 right labels"
    assert all(doubt.likely == labels[doubt.index] for doubt in found if doubt.index in wrong)
    assert set(indices[:10]) <= set(wrong), "the surest come first"


def test_features_that_say_nothing_raise_no_doubt() -> None:
    for seed in range(5):
        features, labels = clusters(200, 3, apart=0.0, seed=seed)
        assert likely_wrong(cross_validated(features, labels, seed), labels) == []


def test_no_image_is_judged_by_a_classifier_that_saw_it() -> None:
    """Each image has a feature of its own, which names its class to whoever has seen it."""
    labels = np.random.default_rng(0).integers(0, 2, 60)
    features = np.eye(60, dtype=np.float32) * 100
    accuracy = (cross_validated(features, labels, seed=0).argmax(1) == labels).mean()
    assert 0.2 < accuracy < 0.75


def test_the_class_that_is_hard_comes_first_with_what_it_is_taken_for() -> None:
    labels = np.repeat([0, 1, 2], 50)
    answers = labels.copy()
    answers[100:130] = 1
    worst = class_quality(np.eye(3)[answers], labels)[0]
    assert (worst.label, worst.images, worst.accuracy, worst.confused_with) == (2, 50, 0.4, 1)
    assert worst.interval[0] < 0.4 < worst.interval[1]


def truth(n: np.ndarray | float) -> np.ndarray | float:
    return 1 - (1.5 * np.asarray(n, dtype=float) ** -0.5 + 0.04)


def test_a_forecast_covers_a_known_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "REFITS", 25)
    sizes = np.array([10, 20, 40, 80, 160, 320])
    hits, halved = 0, 0
    for seed in range(12):
        random = np.random.default_rng(seed)
        measured = random.binomial(80, truth(sizes), (8, 6)) / 80
        found = fit_curve(sizes, measured, seed)
        assert found.factor is not None
        assert found.doubled[1] <= found.doubled[0] <= found.doubled[2]
        hits += found.doubled[1] <= truth(640.0) <= found.doubled[2]
        # Half of the error of 320 images (0.124) takes 14.5 times as many.
        halved += found.factor[1] <= 14.5 <= found.factor[2]
    assert hits >= 11
    assert halved >= 10


def test_an_error_that_does_not_fall_is_halved_by_no_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "REFITS", 25)  # a flat curve takes longest to fit
    measured = np.full((8, 5), 0.7) + np.random.default_rng(0).normal(0, 0.005, (8, 5))
    found = fit_curve(np.array([10, 30, 90, 270, 810]), measured)
    assert found.factor is not None
    assert found.factor[0] == np.inf
    assert found.doubled[0] == pytest.approx(0.7, abs=0.02)


def test_a_curve_is_measured_on_more_and_more_images() -> None:
    features, labels = clusters(300, 3, apart=0.6)
    found = forecast(features, labels)
    assert found.sizes[0] == 6
    assert found.sizes[-1] == 240
    assert found.accuracies[-1] > found.accuracies[0] + 0.1


def test_all_together_and_too_few_images() -> None:
    features, labels = clusters(150, 3, apart=1.0)
    seen: list[float] = []
    found = diagnose(features, labels, on_progress=lambda share, words: seen.append(share))
    assert found.images == 150
    assert found.accuracy > 0.8
    assert [quality.accuracy for quality in found.classes] == sorted(quality.accuracy for quality in found.classes)
    assert seen == sorted(seen)
    with pytest.raises(LabError, match="only 3 images and 5 are needed"):
        diagnose(features[:9], labels[:9])


def test_one_class_is_refused() -> None:
    with pytest.raises(LabError, match="only one class"):
        diagnose(np.ones((20, 3), np.float32), np.zeros(20, np.int64))
