"""A run in the foreground: the same run folder, queue and worker as everywhere, with a terminal that watches it.

The terminal holds a lock on the run: if it goes away, even by kill -9, the run stops, saved.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

from core.common import locks
from core.common.errors import LabError
from core.common.output import Bar, duration, note, print_json
from core.jobs.engine import LocalEngine
from core.jobs.run import COMPRESS, STUDY, Run
from core.jobs.store import FOREGROUND_LOCK
from core.regularization.study import StudyConfig

LOOK_EVERY_S = 0.2


def run_in_foreground(engine: LocalEngine, run_id: str, *, as_json: bool) -> int:
    """Start or resume a run, show how it goes until it ends, and return the exit code."""
    run, interrupted = follow(engine, run_id)
    if as_json:
        print_json(report(run))
    note(run.message)
    if run.status == "finished" and not as_json:
        print(run.id)
        verb = "generate --prompt TEXT" if run.task == "text" else "classify IMAGE"
        note(
            f"Look at it: python -m core {run.kind} --show {run.id}"
            if run.kind in (STUDY, COMPRESS)
            else f"Use it: python -m core {verb} --checkpoint {run.id}"
        )
    if run.resumable:
        note(f"Resume it: python -m core resume {run.id}")
    return exit_code(run, interrupted)


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


def report(run: Run) -> dict[str, object]:
    """A run for `--json`: everything that is known of it, and the name of its checkpoint."""
    return run.to_dict() | {"run_id": run.id, "checkpoint": run.id if run.has_checkpoint else None}


def describe(run: Run) -> tuple[float | None, str]:
    """Share done (0..1 or None) and the rest of a line: what, rate, loss, accuracy, time left; of a study its runs, of a recipe
    the variant that is being made or measured."""
    if run.status == "queued":
        return None, f"queued, place {run.queue_position}: it starts when a run before it has ended"
    silence = f", no sign of life for {duration(run.silent_s)}" if run.silent_s is not None else ""
    if run.compression is not None and run.total_steps:
        return _describe_recipe(run, silence)
    if run.stage and run.stage != "training":
        return run.stage_fraction, run.stage + silence
    if run.study is not None:
        return _describe_study(run, run.study, silence)
    parts = [f"epoch {run.epoch:.2f}"]
    if run.examples_per_s:
        parts.append(f"{run.examples_per_s:,.0f} {run.unit}/s")
    if run.last_train_loss_nats is not None:
        parts.append(f"loss {run.last_train_loss_nats:.3f}")
    if run.task == "text" and run.last_val_loss_nats is not None:
        parts.append(f"validation {run.last_val_loss_nats:.3f} nats")
    elif run.last_val_accuracy is not None:
        parts.append(f"validation {run.last_val_accuracy:.1%}")
    if run.seconds_left is not None:
        parts.append(f"{duration(run.seconds_left)} left")
    if run.status == "stopping":
        parts.append("stopping")
    return (run.step / run.total_steps if run.total_steps else None), ", ".join(parts) + silence


def runs_done(run: Run) -> str:
    """Of a study its runs, of a recipe its variants: `12 of 60`."""
    return f"{run.members_done} of {run.parts}"


def _describe_study(run: Run, study: StudyConfig, silence: str) -> tuple[float | None, str]:
    parts = [f"runs {runs_done(run)}"]
    if run.examples_per_s:
        parts.append(f"{run.examples_per_s:,.0f} {run.unit}/s")
    if run.seconds_left is not None:
        parts.append(f"{duration(run.seconds_left)} left")
    if run.status == "stopping":
        parts.append("stopping")
    return run.step / (run.parts * study.steps), " · ".join(parts) + silence


def _describe_recipe(run: Run, silence: str) -> tuple[float | None, str]:
    parts = [f"variant {min(run.members_done + 1, run.parts)} of {run.parts}"]
    if run.stage:
        parts.append(run.stage)
    if run.stage.endswith("training"):  # the figures of a training outlive it
        if run.examples_per_s:
            parts.append(f"{run.examples_per_s:,.0f} {run.unit}/s")
        if run.seconds_left is not None:
            parts.append(f"{duration(run.seconds_left)} left of this step")
    if run.status == "stopping":
        parts.append("stopping")
    return run.step / run.total_steps, " · ".join(parts) + silence


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
            news = f"{run.status} {run.stage.split('(')[0]} {run.last_val_accuracy} {run.last_val_loss_nats}"
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
