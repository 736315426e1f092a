"""Runs that are done in this process and at once: what a test needs that only looks at a run that has ended."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from core.app import main
from core.common.progress import Progress
from core.data import DATASETS
from core.data.dataset import ImageDataset
from core.jobs import LocalEngine, Run, RunStore
from core.jobs.pool import PoolTask, TaskResult
from core.jobs.store import LOG
from core.jobs.worker import do_run


class InProcessPool:
    """A `WorkerPool` whose tasks are done one after the other in this process, which has imported torch already."""

    def __init__(self, module: str, members: Path, size: int, gpus: Sequence[str]) -> None:
        self.store = RunStore(members)

    def run(self, tasks: Sequence[PoolTask], poll: Callable[[list[PoolTask]], None]) -> Iterator[TaskResult]:
        from core.regularization.member import do_task

        for task in tasks:
            poll([task])
            status, message = do_task(self.store, task.verb, task.member_id)
            yield TaskResult(task=task, status=status, message=message)

    def stop(self, alive: Callable[[], None]) -> None:
        from core.regularization.member import _dataset

        _dataset.cache_clear()  # the next study may find other images in that folder


@contextlib.contextmanager
def in_process(pool: type = InProcessPool) -> Iterator[None]:
    """The engine does a run where it would queue it, and the worker leaves this process's signals alone.

    pool: what does the runs of a study.
    """

    def submit(engine: LocalEngine, run_id: str, **_: object) -> Run:
        log = (engine.store.folder(run_id) / LOG).open("a")
        with log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            do_run(engine.store, run_id)
        return engine.store.get(run_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.jobs.worker.signal.signal", lambda number, handler: None)
        patch.setattr("core.jobs.pool.WorkerPool", pool)
        patch.setattr(LocalEngine, "submit", submit)
        yield


def finish(store: RunStore, run_id: str, pool: type = InProcessPool) -> Run:
    """Do a run to its end, whatever that is. pool: as of `in_process`."""
    with in_process(pool):
        return LocalEngine(store).submit(run_id)


def check_other_data_are_refused(store: RunStore, run_id: str) -> None:
    """A run that was stopped does not go on where a checksum of CIFAR-10, or what is in its place, has changed."""
    source = DATASETS["cifar10"]

    def load(on_progress: Progress | None) -> ImageDataset:
        found = source.load(on_progress)
        assert isinstance(found, ImageDataset)
        return dataclasses.replace(found, card=dataclasses.replace(found.card, sha256={"test_images": "other"}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "cifar10", dataclasses.replace(source, load=load))
        run = finish(store, run_id)
    assert run.status == "failed"
    assert "have changed since this" in run.message
    assert run.resumable, "they may be put back"


def follow(*arguments: str) -> tuple[str, str]:
    """A command of the command line that follows its run to a good end: standard output and standard error."""
    output, said = io.StringIO(), io.StringIO()
    with in_process(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(said):
        assert main(list(arguments)) == 0, said.getvalue()
    return output.getvalue(), said.getvalue()
