"""One run of a study, and the process that does many of them: `python -m core.regularization.member FOLDER`.

A process of its own for each run would spend seconds on importing torch and reading the dataset, more than a small run
trains. So a study keeps a few of these, tells them on stdin what to do next, and hears on stdout how it went.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path

from core.checkpoints.store import CARD
from core.common import locks
from core.common.devices import pick_device
from core.common.errors import LabError
from core.data import load_images
from core.jobs.job import Job, Outcome
from core.jobs.pool import GRACE_S, TEST
from core.jobs.store import STATE, WORKER_LOCK, RunStore
from core.jobs.worker import do_run
from core.regularization.store import STUDIES, member_result
from core.training.config import TrainConfig
from core.training.job import train_to_end
from core.training.report import in_words, measure_images
from core.training.session import TrainSession

CLAIM_S = 20.0
"""How long to wait for a run that another process still holds: one that was told to stop and is saving."""


def run_member(config: TrainConfig, job: Job) -> Outcome:
    """Train one run of a study. It is not measured on test: that is for what is chosen, once the study is at its end."""
    job.stage("reading the dataset")
    dataset = _dataset(config.dataset)
    job.stage("preparing")
    session = TrainSession.start(config, dataset, threads=job.run.threads)
    session.read_every = session.total_steps  # a study looks at evaluations only
    finished = train_to_end(session, job)
    diverged = finished.reason == "diverged"
    kept = None if diverged else _kept_step(job.folder)
    rows = RunStore(job.folder.parent).metrics(job.run.id)
    result = dataclasses.replace(
        member_result(job.run, rows, kept, train_size=config.train_images, seed=config.seed),
        status="failed" if diverged else "finished",
        message=finished.message if diverged else "",
        step=finished.step,
        seconds=float(job.value("seconds") or 0.0),
    )
    STUDIES.write_part(job.folder, result)
    # Nobody goes on from a run of a study that has ended, and a hundred of them take room.
    (job.folder / STATE).unlink(missing_ok=True)
    shutil.rmtree(job.folder / "last", ignore_errors=True)
    return Outcome(status=result.status, message=finished.message, final=diverged)


def test_member(folder: Path) -> None:
    """Measure what a run kept on the test images, once. Raises LabError for a damaged checkpoint."""
    result = STUDIES.read_part(folder)
    if result is None or result.status != "finished" or result.test_accuracy is not None:
        return
    config = RunStore(folder.parent).config(folder.name)
    evaluation = measure_images(
        folder / "best",
        _dataset(config.dataset),
        pick_device(config.device),
        {"training_seconds": result.seconds, "run": f"{folder.parents[1].name}/{folder.name}"},
        _ignore_stage,
    )
    if evaluation is None:
        return
    print(
        time.strftime("%Y-%m-%d %H:%M:%S"), f"{folder.name}: test {in_words(evaluation)}", file=sys.stderr, flush=True
    )
    STUDIES.write_part(
        folder,
        dataclasses.replace(
            result,
            test_accuracy=evaluation.accuracy,
            test_loss_nats=evaluation.loss_nats,
            test_per_class=tuple(item.accuracy for item in evaluation.per_class),
        ),
    )


def _ignore_stage(words: str, share: float | None) -> None:
    """The stages of one run of a study are not shown."""


def main(members: Path) -> None:
    """Do what stdin says, a line each (`train ID` or `test ID`), and answer each with a line: its status, and why.

    Ends when stdin is closed, by a study that stops or by its death; what is under way is saved first.
    """
    _signals_as_usual()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints must not answer for us
    store = RunStore(members)
    for line in sys.stdin:
        verb, _, member_id = line.strip().partition(" ")
        status, message = do_task(store, verb, member_id)
        _signals_as_usual()
        try:
            answers.write(json.dumps({"status": status, "message": message}) + "\n")
        except BrokenPipeError:
            return  # the study is gone


def do_task(store: RunStore, verb: str, member_id: str) -> tuple[str, str]:
    """Train or measure one run of a study, as a `PoolTask` says. Returns its status, and why."""
    try:
        if verb == TEST:
            test_member(store.folder(member_id))
            return "tested", ""
        return _train(store, member_id), store.get(member_id).message
    except (LabError, OSError) as error:
        return "failed", str(error)


def _train(store: RunStore, member_id: str) -> str:
    lock, deadline = store.folder(member_id) / WORKER_LOCK, time.monotonic() + CLAIM_S
    while locks.is_held(lock) and time.monotonic() < deadline:
        time.sleep(0.2)
    return do_run(store, member_id)


def _kept_step(folder: Path) -> int:
    return int(json.loads((folder / "best" / CARD).read_text())["step"])


_dataset = lru_cache(maxsize=1)(load_images)


def _signals_as_usual() -> None:
    """Between two runs there is nothing to save: a signal ends the process, instead of telling a run that is over."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _end_with_stdin() -> None:
    """When stdin is closed, tell the run under way to save its state and end."""
    closed = select.poll()
    closed.register(sys.stdin.fileno(), select.POLLHUP)
    closed.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    # Under the name that the worker imports: as __main__ it would have a second cache of the dataset.
    from core.regularization import member

    member.main(Path(sys.argv[1]))
