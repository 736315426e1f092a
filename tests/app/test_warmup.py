"""Getting ready in the background, and what becomes of it where that fails."""

from __future__ import annotations

import pytest

from pages.components import warmup as module
from pages.components.warmup import Warmup


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
