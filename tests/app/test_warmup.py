"""Getting ready in the background, and what becomes of it where that fails."""

from __future__ import annotations

import pytest

from pages.shared import warmup as module
from pages.shared.warmup import Warmup


@pytest.mark.parametrize("error", [RuntimeError("CUDA driver is too old"), ImportError("no torch"), MemoryError()])
def test_a_warm_up_that_fails_ends_and_lets_pages_go_on(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(**wanted: str) -> list[object]:
        raise error

    monkeypatch.setattr(module, "list_checkpoints", fail)
    monkeypatch.setattr(module, "IDLE_S", 0.0)
    warm = Warmup()
    assert all(0 <= fraction < 1 for fraction in warm.wait())
    assert warm.done.wait(60)
    assert warm.error == str(error)
    assert warm.stage == "Ready"


def test_who_wants_everything_does_not_wait_for_an_idle_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "list_checkpoints", lambda **wanted: [])
    monkeypatch.setattr(module, "IDLE_S", 1e9)
    warm = Warmup()
    list(warm.wait())
    assert not warm.done.wait(0.3)
    for _ in warm.wait(everything=True):
        pass
    assert warm.done.is_set()
    assert warm.error is None
