"""Exact resume, for every kind of task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from core.training.results import TrainResult
from core.training.session import TrainSession
from core.training.trainer import train


def weights(done: TrainSession) -> list[torch.Tensor]:
    return [value.clone() for value in done.eval_model().state_dict().values()]


def resume_at(
    cuts: Iterable[int],
    start: Callable[[], TrainSession],
    expected: list[TrainResult],
    final: list[torch.Tensor],
    folder: Path,
) -> None:
    """A run that saves its state after those results goes on as if it had not, and so does a new session from each state."""
    saving, results = start(), []
    for index, result in enumerate(train(saving)):
        results.append(result)
        if index in cuts:
            assert saving.save_state(folder / f"{index}.pt")
    assert results == expected
    for cut in cuts:
        torch.manual_seed(999)  # whatever the new process drew before
        resumed = start()
        resumed.load_state(folder / f"{cut}.pt")
        assert [*expected[: cut + 1], *train(resumed)] == expected
        assert all(torch.equal(a, b) for a, b in zip(weights(resumed), final, strict=True))
