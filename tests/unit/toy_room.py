"""A room in one file, found through LAB_ROOMS: a config, a job that counts and can be stopped and resumed, a command."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from core.common.commands import Json, Whole
from core.jobs import LocalEngine
from core.jobs.foreground import run_in_foreground
from core.jobs.job import Job, Outcome
from core.jobs.kind import JobKind


@dataclasses.dataclass(frozen=True)
class CountConfig:
    """How far to count, and how."""

    steps: int = 3
    step_s: float = 0.0
    fails: str = ""
    """`memory`, `error`, `deaf` (hears no signal) or empty."""
    state_bytes: int = 0
    """Size of its saved state, at least."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def run_count(config: CountConfig, job: Job) -> Outcome:
    """Count on from the saved number."""
    number = int(job.state_path.read_text()) if job.state_path.exists() else 0
    job.rewind(number, number)
    job.update(now=True, stage="", total_steps=config.steps, step=number, threads=2)
    job.interruptible = False
    if config.fails == "memory":
        raise MemoryError
    if config.fails == "error":
        raise RuntimeError("not foreseen")
    while number < config.steps or config.fails == "deaf":
        time.sleep(config.step_s)
        number += 1
        job.row("eval", {"step": number, "epoch": float(number), "square": number * number})
        job.update(now=True, step=number, square=number * number)
        if config.fails != "deaf":
            job.sync_rows()
            job.state_path.write_text(str(number).ljust(config.state_bytes))
            job.update(now=True, saved_step=number)
            job.stop_if_wanted()
    return Outcome(status="finished", message=f"Counted to {number}.")


COUNT = JobKind(
    name="count",
    entry="tests.unit.toy_room:run_count",
    read_config=lambda values: CountConfig(**values),
    title=lambda config: f"Count to {config.steps}",
    figures=("square",),
    best=lambda run: "" if run.figure("square") is None else f"{run.figure('square'):g}",
    columns=lambda run: {"square": run.figure("square")},
    page=lambda run: ("runs", {"count": run.id}),
)
KINDS = (COUNT,)


def count(steps: Whole, /, *, as_json: Json = False) -> int:
    """Count."""
    engine = LocalEngine()
    run_id = engine.store.create(CountConfig(steps=steps), kind=COUNT.name)
    return run_in_foreground(engine, run_id, as_json=as_json)


COMMANDS = (count,)
