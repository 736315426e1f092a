"""The time of a map counts every image that a map changes and answers."""

from __future__ import annotations

import numpy as np
import pytest

from core.augmentation import cost, effect
from core.augmentation.config import MapConfig
from core.augmentation.effect import EffectMeter
from core.training.estimate import START_SECONDS
from tests.unit.augmentation.orientation import oriented, toy

SMALL = MapConfig(transforms=("flip", "rotate"), strengths=(0.4, 1.0), images=60, train_images=40)


def seconds(config: MapConfig, change_s: float, answer_s: float) -> float:
    return cost.map_seconds(config, change_s, answer_s) - START_SECONDS


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "cores", lambda: 2)
    monkeypatch.setattr(cost, "dataset_sizes", lambda name: {"train": 45_000, "test": 10_000})


def test_each_image_that_is_changed_is_counted(two_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = []
    usual = effect.augmented_pixels

    def spy(images: np.ndarray, *rest: object) -> object:
        changed.append(len(images))
        return usual(images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(effect, "augmented_pixels", spy)
    meter = EffectMeter(toy(), oriented(), images=60, train_images=40)
    pipelines = [pipeline.spec for name in SMALL.transforms for pipeline in SMALL.pipelines(name)]
    assert len(list(meter.measure_all(pipelines))) == SMALL.points
    assert seconds(SMALL, 1.0, 0.0) == pytest.approx(sum(changed))


def test_changing_and_answering_share_the_cores(two_cores: None) -> None:
    one = seconds(SMALL, 1.0, 0.0)
    assert seconds(SMALL, 1.0, 1.0) == pytest.approx(one), "the other core answers"
    assert seconds(SMALL, 1.0, 3.0) == pytest.approx(2 * one)


def test_no_more_images_than_there_are(two_cores: None) -> None:
    most = SMALL.replace(images=10_000, train_images=45_000)
    assert seconds(most.replace(images=100_000, train_images=100_000), 1.0, 1.0) == seconds(most, 1.0, 1.0)


def test_what_a_transform_takes_is_a_mean_over_the_points_of_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([1.0, 32.0] * 19)
    monkeypatch.setattr(cost, "processor_seconds", lambda work: next(taken))
    assert cost.change_seconds(oriented().card) == pytest.approx(
        31 / (len(cost.trial_images(oriented().card.image_size)) - 1)
    )
