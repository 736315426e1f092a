"""The speed of a real run: queued, in its worker, with its metrics written."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from core.common.errors import LabError
from core.jobs.engine import LocalEngine
from core.jobs.store import RunStore
from core.training.config import TrainConfig

LIMIT_S = 120.0


def run_speed(
    config: TrainConfig,
    seconds: float,
    *,
    first_step: int,
    settle_s: float,
    watch: Callable[[str], object] = lambda run_id: None,
) -> float:
    """Images or characters per second over `seconds`, from the run's own rows; the run is deleted afterwards.

    watch: called with the run's id once it has done `first_step` steps; what is measured begins `settle_s` later.
    Raises LabError if the run does not start.
    """
    store = RunStore()
    engine = LocalEngine(store)
    run_id = store.create(config, "benchmark")
    try:
        engine.submit(run_id)
        _wait_for_step(engine, run_id, first_step)
        watch(run_id)
        time.sleep(settle_s)
        first = store.metrics(run_id)[-1]
        time.sleep(seconds)
        last = _row_after(engine, run_id, first["step"])
        return float((last["examples"] - first["examples"]) / (last["seconds"] - first["seconds"]))
    finally:
        engine.stop(run_id, now=True)
        while engine.state(run_id).status in ("running", "stopping"):
            time.sleep(0.1)
        store.delete(run_id)


def _wait_for_step(engine: LocalEngine, run_id: str, step: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while (run := engine.state(run_id)).step < step:
        if run.status not in ("queued", "running") or time.monotonic() > deadline:
            raise LabError(f"The measured run did not start ({run.message or run.status}): stop other runs first.")
        time.sleep(0.2)


def _row_after(engine: LocalEngine, run_id: str, step: int) -> dict[str, Any]:
    """The newest row, once it is a later one: on a busy machine a large model's rows are many seconds apart."""
    deadline = time.monotonic() + LIMIT_S
    while (row := engine.store.metrics(run_id)[-1])["step"] <= step:
        if engine.state(run_id).status != "running" or time.monotonic() > deadline:
            raise LabError("The measured run did not go on: is the machine busy with something else?")
        time.sleep(0.1)
    return row
