"""The processes that do a study's runs: as many as there are cores, a thread each, because small networks gain more from a
second run than from a second thread: two of `simple_cnn` at once gave 1.2 to 1.35 times the images a second of one with both
cores (`python -m core benchmark study`).
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from core.common import devices
from core.jobs import engine

GRACE_S = 45.0
"""How long runs may take to save their state when they are told to stop."""
MEMORY_BYTES = 1_500_000_000
"""What one process with torch, a dataset and a small network was seen to need at most, with room."""


OWN_JOB = "LAB_RAY_JOB"
"""Variable by which an engine tells a worker on a cluster which job it is."""
TRAIN, TEST = "train", "test"
"""What a process can be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolTask:
    verb: str
    """TRAIN or TEST."""
    member_id: str


@dataclass(slots=True, eq=False)
class Worker:
    place: int
    """0..size-1; it decides on the GPU."""
    process: subprocess.Popen[str]
    task: PoolTask | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    task: PoolTask
    status: str
    """What the process reported; `died` where it ended without a report."""
    message: str = ""


def crew_size(tasks: int, device: str, gpus: Sequence[str], cores: int | None = None) -> int:
    """How many processes to keep at most: one per GPU, else one per core that the study may use, as far as memory goes.

    cores: None = what the engine gave this process, as threads.
    """
    if device == "mps" or device.startswith("cuda:") or (device == "auto" and not gpus and devices.apple_gpu()):
        return 1
    if gpus and device != "cpu":
        return max(1, min(tasks, len(gpus)))
    import psutil

    threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = cores or (int(threads) if threads.isdigit() and int(threads) else devices.cores())
    return max(1, min(tasks, cores, int(psutil.virtual_memory().available // MEMORY_BYTES)))


class Pool(Protocol):
    """What does a study's runs, on this machine or on many."""

    def run(self, tasks: Sequence[PoolTask], poll: Callable[[list[PoolTask]], None]) -> Iterator[TaskResult]: ...

    def stop(self, alive: Callable[[], None]) -> None: ...


def on_cluster() -> bool:
    """Whether this process is a job of a Ray cluster, over which small runs may spread."""
    return engine.engine_name() == "ray" and OWN_JOB in os.environ


def pool_size(tasks: int, device: str, gpus: Sequence[str]) -> int:
    """How many processes a study keeps at most."""
    if on_cluster():
        from core.jobs.ray_pool import cluster_size

        return cluster_size(tasks)
    return crew_size(tasks, device, gpus)


def open_pool(module: str, members: Path, size: int, gpus: Sequence[str]) -> Pool:
    """The pool where this process runs. module: of each process, as core.regularization.member."""
    if on_cluster():
        from core.jobs.ray_pool import RayPool

        return RayPool(module, members, size, gpus)
    return WorkerPool(module, members, size, gpus)


class WorkerPool:
    """Hand out tasks with `run`; always `stop` at the end. A process is started when there is something for it to do."""

    def __init__(self, module: str, members: Path, size: int, gpus: Sequence[str]) -> None:
        self.module, self.members, self.size, self.gpus = module, members, size, gpus
        self.selector = selectors.DefaultSelector()
        self.workers: dict[int, Worker] = {}

    def run(self, tasks: Sequence[PoolTask], poll: Callable[[list[PoolTask]], None]) -> Iterator[TaskResult]:
        """Do all tasks, yielding what became of each. poll is called twice a second with those in hand; it may raise."""
        waiting = list(tasks)
        while waiting or self._in_hand():
            for place in range(self.size):
                worker = self.workers.get(place)
                if waiting and not (worker and worker.task):
                    _hand(worker or self._start(place), waiting.pop(0))
            poll(self._in_hand())
            for key, _ in self.selector.select(timeout=0.5):
                if result := self._hear(key.data):
                    yield result

    def stop(self, alive: Callable[[], None]) -> None:
        """Tell all to save what they do and end; kill those that do not. alive is called while one waits."""
        for worker in self.workers.values():
            _close(worker.process.stdin)  # which is what tells them
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and any(worker.process.poll() is None for worker in self.workers.values()):
            alive()
            time.sleep(0.05)
        for worker in list(self.workers.values()):
            self._end(worker)
        self.selector.close()

    def _in_hand(self) -> list[PoolTask]:
        return [worker.task for worker in self.workers.values() if worker.task]

    def _start(self, place: int) -> Worker:
        environment = dict(os.environ) | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if len(self.gpus) > 1 and self.size > 1:  # one alone may have been told which to take
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[place % len(self.gpus)]
        process = subprocess.Popen(
            [sys.executable, "-m", self.module, str(self.members)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment,
            cwd=engine.ROOT,
        )
        assert process.stdout is not None
        worker = self.workers[place] = Worker(place=place, process=process)
        self.selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def _hear(self, worker: Worker) -> TaskResult | None:
        """What a process says of its task; one that says no more is done with."""
        assert worker.process.stdout is not None
        task, line = worker.task, worker.process.stdout.readline()
        worker.task = None
        whole = line.endswith("\n")
        if not whole:
            self._end(worker)
        report = json.loads(line) if whole else {"status": "died"}
        return TaskResult(task=task, status=report["status"], message=report.get("message", "")) if task else None

    def _end(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        worker.process.kill()  # nothing happens to one that has ended
        worker.process.wait()
        self.selector.unregister(worker.process.stdout)
        _close(worker.process.stdin)
        _close(worker.process.stdout)
        del self.workers[worker.place]


def _hand(worker: Worker, task: PoolTask) -> None:
    worker.task = task
    try:
        assert worker.process.stdin is not None
        worker.process.stdin.write(f"{task.verb} {task.member_id}\n")
        worker.process.stdin.flush()
    except OSError:
        pass  # it has died, which its closed stdout will tell


def _close(stream: IO[str] | None) -> None:
    try:
        if stream:
            stream.close()
    except OSError:
        pass
