"""Runs that are done in this process and at once: what a test needs that only looks at a run that has ended."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pytest

from core.app import main
from core.jobs import LocalEngine, Run, RunStore
from core.jobs.store import LOG
from core.jobs.worker import do_run


@contextlib.contextmanager
def in_process() -> Iterator[None]:
    """The engine does a run where it would queue it, and the worker leaves this process's signals alone."""

    def submit(engine: LocalEngine, run_id: str, *, attached: bool = False) -> Run:
        log = (engine.store.folder(run_id) / LOG).open("a")
        with log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            do_run(engine.store, run_id)
        return engine.store.get(run_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.jobs.worker.signal.signal", lambda number, handler: None)
        patch.setattr(LocalEngine, "submit", submit)
        yield


def finish(store: RunStore, run_id: str) -> Run:
    """Do a run to its end, whatever that is."""
    with in_process():
        return LocalEngine(store).submit(run_id)


def follow(*arguments: str) -> tuple[str, str]:
    """A command of the command line that follows its run to a good end: standard output and standard error."""
    output, said = io.StringIO(), io.StringIO()
    with in_process(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(said):
        assert main(list(arguments)) == 0, said.getvalue()
    return output.getvalue(), said.getvalue()
