"""What every refresh of every page costs beside ten thousand finished runs, and how long the Runs page takes to show them."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.benchmark import Figure, figure
from core.benchmark.processes import bare_environment, launch, result
from core.jobs import LocalEngine, RunStore
from core.jobs.listing import SETTLED_NS, listing
from core.training.config import TrainConfig

RUNS = 10_000
REFRESHES = 20


def measure(rounds: int) -> Iterator[Figure]:
    bare: list[float] = []
    first: list[float] = []
    again: list[float] = []
    one: list[float] = []
    pages: list[float] = []
    opened: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder) / "runs")
            make_runs(store, RUNS)
            engine = LocalEngine(store, slots=1)
            bare.append(1000 * _refresh(engine, time.process_time))
            listing.cache_clear()  # as in a new process, which finds the index that this one wrote
            first.append(1000 * _refresh(engine, time.process_time))
            again += [1000 * _refresh(engine) for _ in range(REFRESHES)]
            for number in range(REFRESHES):
                store.rename(f"run-{number}", f"renamed {number}")
                one.append(1000 * _refresh(engine))
            environment = bare_environment() | {"LAB_HOME": folder, "LAB_WARM": "0"}
            times = result(launch("core.benchmark.runs_page", [], environment))
            opened.append(times[0])
            pages += times[1:]
    yield figure("runs", f"first refresh of all, {RUNS:,} finished runs, CPU time", bare, "ms", "no index yet")
    yield figure("runs", "first refresh of a process, CPU time", first, "ms", "aim: at most 500")
    yield figure("runs", "refresh (tick and list)", again, "ms", "aim: at most 50")
    yield figure("runs", "refresh after one run has changed", one, "ms", "aim: at most 50")
    yield figure("runs", "Runs page, first of a server", opened, "s")
    yield figure("runs", "Runs page", pages, "s", "aim: at most 1")


def make_runs(store: RunStore, count: int) -> None:
    """Finished trainings named `run-0`, `run-1`, … in an empty store, made long ago."""
    pattern = store.create(TrainConfig(), "pattern")
    config = json.loads((store.folder(pattern) / "config.json").read_text())
    store.delete(pattern)
    status = {"status": "finished", "message": "Done.", "step": 100, "total_steps": 100, "epoch": 10.0, "seconds": 60.0}
    status |= {"best_val_accuracy": 0.7, "last_val_accuracy": 0.69, "test_accuracy": 0.68, "ended": 1.7e9}
    past = time.time() - 10 * SETTLED_NS / 1e9
    for number in range(count):
        folder = store.root / f"run-{number}"
        folder.mkdir()
        values = config | {"name": f"run {number}", "created": 1.7e9 + number}
        for name, text in (("config.json", json.dumps(values)), ("status.json", json.dumps(status))):
            (folder / name).write_text(text)
            os.utime(folder / name, (past, past))
        os.utime(folder, (past, past))


def _refresh(engine: LocalEngine, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of what a page does to know all runs."""
    started = clock()
    engine.tick()
    engine.store.list()
    return clock() - started
