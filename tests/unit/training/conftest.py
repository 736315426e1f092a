"""Runs that are done in this process, looked at and disturbed on their way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.jobs import RunStore
from core.jobs.store import STOP
from core.training.config import TrainConfig
from core.training.job import Recorder
from core.training.results import EvalResult, StepResult
from tests.unit.in_process import finish


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("lab") / "runs")


def finished(store: RunStore, config: TrainConfig, name: str) -> str:
    """The id of a run that nobody disturbed."""
    run = finish(store, store.create(config, name))
    assert run.status == "finished", run.message
    return run.id


def same_rows(store: RunStore, one: str, other: str) -> bool:
    """Whether two runs have the same metrics, but for the time they took."""
    rows = [[{**row, "seconds": 0} for row in store.metrics(run_id)] for run_id in (one, other)]
    return rows[0] == rows[1]


@contextlib.contextmanager
def at_step(
    step: int, act: Callable[[Recorder], object], kind: type[StepResult | EvalResult] = StepResult
) -> Iterator[None]:
    """Act once a run has recorded that step, or its evaluation."""
    record = Recorder.record

    def recorded(recorder: Recorder, result: Any) -> None:
        record(recorder, result)
        if result.step == step and isinstance(result, kind):
            act(recorder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "record", recorded)
        yield


def ask_to_stop(recorder: Recorder) -> None:
    (recorder.job.folder / STOP).touch()
