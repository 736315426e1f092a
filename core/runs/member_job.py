"""One run of a study, and the process that does many of them: `python -m core.runs.member_job FOLDER`.

A process of its own for each run would spend seconds on importing torch and reading the dataset, more than a small run
trains. So a study keeps a few of these, tells them on stdin what to do next, and hears on stdout how it went.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path

from core.checkpoints import CARD
from core.data import load_images
from core.data.dataset import ImageDataset
from core.errors import LabError
from core.paths import write_atomic
from core.regularization.results import MemberResult
from core.runs.job import Job, Outcome
from core.runs.report import in_words, measure_pictures
from core.runs.store import STATE, RunStore
from core.runs.studies import RESULT, member_result, read_result
from core.runs.train_job import train_to_end
from core.runs.worker import do_run
from core.training.config import TrainConfig
from core.training.session import TrainSession

TRAIN, TEST = "train", "test"
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
    seconds = float(job.value("seconds") or 0.0)
    kept = None if finished.reason == "diverged" else _kept_step(job.folder)
    result = member_result(job.run, RunStore(job.folder.parent).metrics(job.run.id), kept)
    diverged = finished.reason == "diverged"
    result = dataclasses.replace(
        result,
        status="failed" if diverged else "finished",
        message=finished.message if diverged else "",
        seconds=seconds,
    )
    write_result(job.folder, result)
    # Nobody goes on from a run of a study that has ended, and a hundred of them take room.
    (job.folder / STATE).unlink(missing_ok=True)
    shutil.rmtree(job.folder / "last", ignore_errors=True)
    return Outcome(status=result.status, message=finished.message, final=diverged)


def test_member(folder: Path) -> None:
    """Measure what a run kept on the test images, once. Raises LabError for a damaged checkpoint."""
    result = read_result(folder)
    if result is None or result.status != "finished" or result.test_accuracy is not None:
        return
    config = RunStore(folder.parent).config(folder.name)
    from core.devices import pick_device

    evaluation = measure_pictures(
        folder / "best",
        _dataset(config.dataset),
        pick_device(config.device),
        {"training_seconds": result.seconds, "run": f"{folder.parents[1].name}/{folder.name}"},
        _quietly,
    )
    if evaluation is None:
        return
    print(
        time.strftime("%Y-%m-%d %H:%M:%S"), f"{folder.name}: test {in_words(evaluation)}", file=sys.stderr, flush=True
    )
    write_result(
        folder,
        dataclasses.replace(
            result,
            test_accuracy=evaluation.accuracy,
            test_loss_nats=evaluation.loss_nats,
            test_per_class=tuple(item.accuracy for item in evaluation.per_class),
        ),
    )


def _quietly(words: str, share: float | None) -> None:
    """Nobody looks at the stages of one run of a study."""


def write_result(folder: Path, result: MemberResult) -> None:
    """Keep what a run of a study gave, in its folder."""
    write_atomic(folder / RESULT, json.dumps(dataclasses.asdict(result)) + "\n")


def main(members: Path) -> None:
    """Do what stdin says, a line each (`train ID` or `test ID`), and answer each with a line: its status, and why."""
    _end_with_parent()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints must not answer for us
    store = RunStore(members)
    for line in sys.stdin:
        verb, _, member_id = line.strip().partition(" ")
        try:
            if verb == TEST:
                test_member(store.folder(member_id))
                status, message = "tested", ""
            else:
                status, message = _train(store, member_id), store.get(member_id).message
        except (LabError, OSError) as error:
            status, message = "failed", str(error)
        answers.write(json.dumps({"status": status, "message": message}) + "\n")


def _train(store: RunStore, member_id: str) -> str:
    deadline = time.monotonic() + CLAIM_S
    while True:
        try:
            return do_run(store, member_id)
        except LabError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _kept_step(folder: Path) -> int:
    return int(json.loads((folder / "best" / CARD).read_text())["step"])


@lru_cache(maxsize=1)
def _dataset(name: str) -> ImageDataset:
    return load_images(name)


def _end_with_parent() -> None:
    """When the study's process is killed, its runs save their state and end: nobody would tell them to."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
