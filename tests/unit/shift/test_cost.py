"""The time of a measurement counts every image that it corrupts and answers."""

from __future__ import annotations

import numpy as np
import pytest

from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.shift import cost, measure
from core.shift.catalogue import CORRUPTIONS
from core.shift.cli import new_config
from core.shift.corruptions import corrupt
from core.shift.measure import maker, measure_part
from core.shift.results import CLEAN
from core.training.estimate import START_SECONDS
from tests.unit.shift.conftest import small_data


def test_each_image_is_counted(networks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    data, made, answered = small_data(), [], []
    monkeypatch.setattr(cost, "cores", lambda: 2)
    monkeypatch.setattr(cost, "dataset_sizes", lambda name: {"test": len(data.test)})
    config = new_config(networks, corruptions=("fog", "contrast"), images=20)
    usual_make, usual_answers = maker(data.test.images, 0), measure.split_answers

    def make(name: str, severity: int, numbers: np.ndarray) -> np.ndarray:
        made.append(len(numbers))
        return usual_make(name, severity, numbers)

    def answers(checkpoint: object, split: object, *rest: object) -> object:
        answered.append(len(split))  # type: ignore[arg-type]
        return usual_answers(checkpoint, split, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "split_answers", answers)
    checkpoints = [load_checkpoint(find_checkpoint(name)) for name in networks]
    for name in (CLEAN, *config.corruptions):
        measure_part(checkpoints, data.test, np.arange(20), name, make)

    free, one = dict.fromkeys(CORRUPTIONS, 0.0), dict.fromkeys(CORRUPTIONS, 1.0)
    assert cost.measurement_seconds(config, one, [0.0, 0.0]) == pytest.approx(START_SECONDS + sum(made))
    assert cost.measurement_seconds(config, free, [1.0, 1.0]) == pytest.approx(START_SECONDS + sum(answered) / 2)
    all_images = config.replace(images=10_000)
    assert cost.measurement_seconds(all_images, one, []) == pytest.approx(START_SECONDS + 3 * sum(made))
    official = config.replace(files="official")
    assert cost.measurement_seconds(official, one, []) == START_SECONDS


def test_a_corruption_that_takes_longer_has_the_larger_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def spy(images: np.ndarray, name: str, *rest: object) -> np.ndarray:
        seen.append(name)
        return corrupt(images, name, 3)

    monkeypatch.setattr("core.shift.corruptions.corrupt", spy)
    monkeypatch.setattr(cost, "processor_seconds", lambda work: (work(), 64.0 if seen[-1] == "snow" else 32.0)[1])
    found = cost.corrupt_seconds(32)
    assert list(found) == list(CORRUPTIONS)
    assert found["snow"] == 2 * found["fog"] == 64 / len(cost.trial_images(32))
