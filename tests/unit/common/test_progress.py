"""What a byte count becomes for people, held against the arithmetic of a clock that the test turns."""

from __future__ import annotations

import pytest

from core.common import progress
from core.common.progress import Meter


def test_progress_carries_the_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    seen: list[tuple[float, str]] = []
    meter = Meter(lambda *report: seen.append(report), "download cifar10", 1_000_000_000)
    for step in range(1, 5):
        now[0] += 1.0
        meter.update(step * 100_000_000)
    assert seen[0] == (0.0, "download cifar10")
    assert seen[-1] == (0.4, "download cifar10 (100.0 MB/s, 0:06 left)")
    # The rate follows the last seconds, not the whole past.
    for _ in range(8):
        now[0] += 1.0
        meter.update(400_000_000)
    meter.update(405_000_000, now=True)
    assert seen[-1] == (0.405, "download cifar10 (1.0 MB/s, 9:55 left)")


def test_progress_is_not_reported_more_often_than_people_can_see(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    seen: list[tuple[float, str]] = []
    meter = Meter(lambda *report: seen.append(report), "verify")
    for _ in range(1000):
        now[0] += 0.001
        meter.update(1)
    assert 8 <= len(seen) <= 12
    assert {fraction for fraction, _ in seen} == {0.0}, "the total is not known"
    assert not any("left" in words for _, words in seen)
