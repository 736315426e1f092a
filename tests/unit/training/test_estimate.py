"""Estimates come from runs on this machine, and a broken cache is no reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.training.estimate import START_SECONDS, estimate_seconds, measured_speed, record_speed
from core.training.recipes import get_recipe

CONFIG = get_recipe("simple_cnn", "default")


def test_a_measured_speed_is_used_for_the_next_run(lab_home: Path) -> None:
    assert measured_speed(CONFIG, "cpu") is None
    record_speed(CONFIG, "cpu", 5000.0)
    assert measured_speed(CONFIG, "cpu") == 5000
    assert estimate_seconds(CONFIG, "cpu", 45_000) == pytest.approx(START_SECONDS + 45_000 * CONFIG.epochs / 5000)
    few = CONFIG.replace(train_images=1000, epochs=2)
    assert estimate_seconds(few, "cpu", 45_000) == pytest.approx(START_SECONDS + 2000 / 5000)
    record_speed(CONFIG.replace(batch_size=32), "cpu", 100.0)
    assert estimate_seconds(CONFIG, "cpu", 45_000) == pytest.approx(START_SECONDS + 45_000 * CONFIG.epochs / 5000)
    assert measured_speed(CONFIG.replace(model_config={"batch_norm": True}), "cpu") is None
    assert measured_speed(CONFIG, "cuda:0") is None


def test_without_a_run_a_cpu_is_guessed_and_a_gpu_is_not(lab_home: Path) -> None:
    guess = estimate_seconds(CONFIG, "cpu", 45_000)
    assert guess > START_SECONDS
    slower = estimate_seconds(get_recipe("fast_resnet", "default"), "cpu", 45_000)
    assert slower > guess
    assert estimate_seconds(CONFIG, "cuda:0", 45_000) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"cpu simple_cnn": {"128": "fast"}}', '{"cpu simple_cnn": {"128": -1}}']
)
def test_a_broken_cache_is_ignored_and_replaced(lab_home: Path, content: str) -> None:
    lab_home.mkdir()
    (lab_home / "speed.json").write_text(content)
    assert measured_speed(CONFIG, "cpu") is None
    record_speed(CONFIG, "cpu", 10.0)
    assert measured_speed(CONFIG, "cpu") == 10
