"""The processes that do a study's runs: as many as there are cores, a thread each, because small networks gain more from a
second run than from a second thread (two of `simple_cnn` at once gave 1.6 times the images a second of one with both cores).
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core import devices

GRACE_S = 45.0
"""How long runs may take to save their state when they are told to stop."""
MEMORY_BYTES = 1_500_000_000
"""What one process with torch, a dataset and a small network was seen to need at most, with room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One line for a process."""

    verb: str
    """`train` or `test`."""
    member_id: str


@dataclass(slots=True)
class Worker:
    process: subprocess.Popen[str]
    task: Task | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What became of a task."""

    task: Task
    status: str
    """What the process said; `died` where it ended without a word."""
    message: str = ""


def crew_size(tasks: int, device: str, gpus: Sequence[str]) -> int:
    """How many processes to keep: one per GPU, else one per core that the study may use, as far as memory goes."""
    if device == "mps" or device.startswith("cuda:"):
        return 1
    if gpus and device != "cpu":
        return max(1, min(tasks, len(gpus)))
    import psutil

    # The engine gave this process its share of the cores as threads.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(threads) if threads.isdigit() and int(threads) else devices.cores()
    return max(1, min(tasks, cores, int(psutil.virtual_memory().available // MEMORY_BYTES)))


class Crew:
    """Hand out tasks with `run`; always `stop` at the end."""

    def __init__(self, members: Path, size: int, gpus: Sequence[str]) -> None:
        self.members, self.gpus = members, gpus
        self.selector = selectors.DefaultSelector()
        self.workers = [self._start(index) for index in range(size)]

    def run(self, tasks: Sequence[Task], poll: Callable[[list[Task]], None]) -> Iterator[Answer]:
        """Do all tasks, yielding what became of each. poll is called twice a second with those in hand; it may raise."""
        waiting = list(tasks)
        while waiting or any(worker.task for worker in self.workers):
            for index, worker in enumerate(self.workers):
                if not worker.task and waiting:
                    if worker.process.poll() is not None:
                        worker = self.workers[index] = self._start(index)
                    self._hand(worker, waiting.pop(0))
            poll([worker.task for worker in self.workers if worker.task])
            for key, _ in self.selector.select(timeout=0.5):
                worker = next(item for item in self.workers if item.process.stdout is key.fileobj)
                task, line = worker.task, key.fileobj.readline()  # type: ignore[union-attr]
                if not line:
                    self.selector.unregister(key.fileobj)
                worker.task = None
                if task:
                    said = json.loads(line) if line else {"status": "died"}
                    yield Answer(task=task, status=said["status"], message=said.get("message", ""))

    def stop(self, alive: Callable[[], None]) -> None:
        """Tell all to save what they do and end; kill those that do not. alive is called while one waits."""
        for worker in self.workers:
            if worker.process.poll() is None:
                if worker.task:
                    worker.process.send_signal(signal.SIGTERM)
                _close(worker.process.stdin)
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and any(worker.process.poll() is None for worker in self.workers):
            alive()
            time.sleep(0.05)
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()
            _close(worker.process.stdout)
        self.selector.close()

    def _start(self, index: int) -> Worker:
        environment = dict(os.environ) | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if len(self.gpus) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[index % len(self.gpus)]
        process = subprocess.Popen(
            [sys.executable, "-m", "core.runs.member_job", str(self.members)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment,
            cwd=devices.__file__.rpartition(os.sep + "core" + os.sep)[0],
        )
        assert process.stdout is not None
        self.selector.register(process.stdout, selectors.EVENT_READ)
        return Worker(process)

    def _hand(self, worker: Worker, task: Task) -> None:
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
