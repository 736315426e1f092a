"""A run in the foreground: the same run folder, queue and worker as everywhere, with a terminal that watches it.

The terminal holds a lock on the run: if it goes away, even by kill -9, the run stops, saved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from types import FrameType

from core.common import locks
from core.common.errors import LabError
from core.common.output import Bar, note, print_json
from core.common.values import duration
from core.jobs.engine import LocalEngine
from core.jobs.kind import kinds
from core.jobs.run import Run
from core.jobs.store import FOREGROUND_LOCK

LOOK_EVERY_S = 0.2


def start_run(engine: LocalEngine, run_id: str, *, detach: bool, as_json: bool) -> int:
    """Start or resume a run, and return the exit code: of the run, or with `detach` at once."""
    return (run_detached if detach else run_in_foreground)(engine, run_id, as_json=as_json)


def run_in_foreground(engine: LocalEngine, run_id: str, *, as_json: bool) -> int:
    """Start or resume a run, show how it goes until it ends, and return the exit code."""
    run, interrupted = follow(engine, run_id)
    if as_json:
        print_json(report(run))
    note(run.message)
    if run.status == "finished" and not as_json:
        print(run.id)
        note(run.job_kind.look(run))
    if run.resumable:
        note(f"Resume it: python -m core resume {run.id}")
    return exit_code(run, interrupted)


def run_for_result(
    engine: LocalEngine, run_id: str, noun: str, show: Callable[[Run], None], *, detach: bool, as_json: bool
) -> int:
    """The same for a run that gives more than a checkpoint, and its exit code. noun: of the verbs `show` and `resume`.

    show: print what there is of it.
    """
    if detach:
        return run_detached(engine, run_id, as_json=as_json)
    run, interrupted = follow(engine, run_id)
    note(run.message)
    show(run)
    if run.resumable:
        note(f"Go on with it: python -m core {noun} resume {run_id}")
    elif run.status == "finished" and not as_json:
        note(f"Show it again: python -m core {noun} show {run_id}")
    return exit_code(run, interrupted)


def check_idle(run: Run, noun: str) -> None:
    """Raises LabError for a run that goes on already."""
    if run.active:
        raise LabError(f"The run {run.id} is {run.status} already: see python -m core {noun} {run.id}")


def run_detached(engine: LocalEngine, run_id: str, *, as_json: bool) -> int:
    """Queue a run, say where it is, and return the exit code."""
    run = engine.submit(run_id)
    if as_json:
        print_json(report(run))
    else:
        print(run.id)
        now = f"Queued at place {run.queue_position}." if run.status == "queued" else run.message or "Started."
        note(f"{now} Look: python -m core runs {run.id}")
    return 0 if run.active or run.status == "finished" else 1


def follow(engine: LocalEngine, run_id: str) -> tuple[Run, int]:
    """Start or resume a run and show how it goes. Returns it as it ended, and the signal that ended it, 0 for none."""
    with _attached(engine, run_id):
        engine.submit(run_id, attached=True)
        interrupted = _watch(engine, run_id)
    return engine.state(run_id), interrupted


def exit_code(run: Run, interrupted: int) -> int:
    """What a command returns for a run that it followed to its end."""
    if run.status == "finished":
        return 0
    return 128 + interrupted if interrupted else 1


def note_state(run: Run, command: str) -> None:
    """Say what goes on with a run that is looked at, and how it goes on. command: the noun of its verbs."""
    if run.active:
        note(f"It is {run.status}: {describe(run)[1]}")
    elif run.status != "finished":
        note(f"{run.message} {f'python -m core {command} resume {run.id}' if run.resumable else ''}".strip())


def report(run: Run) -> dict[str, object]:
    """A run for `--json`: everything that is known of it, the name of its checkpoint, and the same fields for every kind."""
    values = {item.name: getattr(run, item.name) for item in dataclasses.fields(run) if item.name != "figures"}
    values = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}
    for kind in kinds().values():
        values |= {name: run.figure(name) for name in kind.figures}
        values |= {kind.report_key: None} if kind.report_key else {}
    values["epoch"] = values.get("epoch") or 0.0
    kind, config = run.job_kind, {} if run.config is None else run.job_kind.write_config(run.config)
    values |= {kind.report_key: config} if kind.report_key else {}
    values |= {
        "config": kind.report_config(run.config) if kind.report_config else config,
        "members_done": run.parts_done,
        "run_id": run.id,
        "checkpoint": run.id if run.has_checkpoint else None,
    }
    return values


def describe(run: Run) -> tuple[float | None, str]:
    """Share done (0..1 or None) and the rest of a line: how far, what is being done, rate, time left."""
    if run.status == "queued":
        return None, f"queued, place {run.queue_position}: it starts when a run before it has ended"
    trains = run.stage in ("", "training") or run.stage.endswith(": training")
    if run.stage and run.stage != "training" and not (run.parts and run.total_steps):
        fraction, parts = run.stage_fraction, [run.stage]
    else:
        fraction, parts = (run.step / run.total_steps if run.total_steps else None), run.job_kind.live(run)
        parts += [run.stage] if run.stage not in ("", "training") else []
        parts += [f"{run.examples_per_s:,.0f} {run.unit}/s"] if trains and run.examples_per_s else []
        if trains and run.seconds_left is not None:
            parts.append(f"{duration(run.seconds_left)} {run.job_kind.time_left}")
    if run.status == "stopping":
        parts.append("stopping")
    if run.silent_s is not None:
        parts.append(f"no update for {duration(run.silent_s)}")
    return fraction, " · ".join(parts)


def _watch(engine: LocalEngine, run_id: str) -> int:
    """Show the run until it has ended. Returns the signal that ended it, 0 for none."""
    received: list[int] = []

    def note_signal(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handled, shown, bar = 0, "", Bar()
    try:
        while True:
            run = engine.state(run_id)
            if not run.active:
                return received[0] if received and run.status != "finished" else 0
            if len(received) > handled:
                handled = len(received)
                bar.close()
                note("Stopping after this batch; once more ends it at once." if handled == 1 else "Ending it.")
                engine.stop(run_id, now=handled > 1)
            fraction, words = describe(run)
            news = f"{run.status} {run.stage.split('(')[0]} {run.job_kind.best(run)}"
            bar.show(fraction, words, now=news != shown)
            shown = news
            time.sleep(LOOK_EVERY_S)
    finally:
        bar.close()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _attached(engine: LocalEngine, run_id: str) -> Iterator[None]:
    path = engine.store.folder(run_id) / FOREGROUND_LOCK
    handle = locks.take(path, wait_s=0.5)
    if handle is None:
        raise LabError(f"The run {run_id} is in the foreground of another terminal: watch it there.")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
