"""The processes that do a study's runs, spread over the nodes of a Ray cluster: the interface of `core.jobs.pool.WorkerPool`,
the same process for each run, and so the same results.

An actor on a node keeps one process and hands it lines, as the local pool does. When a node dies its actors are reported as
`died`, and the study does those runs again elsewhere: what counts is the result in the run's folder, which is written once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core.jobs.engine import ROOT
from core.jobs.pool import GRACE_S, PoolTask, TaskResult
from core.jobs.ray_engine import Request

DIED = {"status": "died"}


class Seat:
    """One process on one node. Two calls may be under way: `do`, and `close` beside it."""

    def __init__(self, module: str, members: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, members],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=dict(os.environ) | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            cwd=ROOT,
        )

    def do(self, line: str) -> dict[str, str]:
        """Hand over a task and wait for what became of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except (OSError, ValueError):
            return DIED
        answer = self.process.stdout.readline()
        return dict(json.loads(answer)) if answer.endswith("\n") else DIED

    def close(self) -> None:
        """Let it save what it does, and end it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(GRACE_S)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()


class RayPool:
    """See core.jobs.pool.WorkerPool."""

    def __init__(self, module: str, members: Path, size: int, gpus: Sequence[str]) -> None:
        self.ray = connect()
        self.module, self.members, self.size = module, members, size
        self.share = Request.from_environment().gpus if gpus else 0.0
        self.seats: dict[int, Any] = {}
        self.tasks: dict[int, tuple[PoolTask, Any]] = {}
        """Place -> what it does, and the promise of its answer."""

    def run(self, tasks: Sequence[PoolTask], poll: Callable[[list[PoolTask]], None]) -> Iterator[TaskResult]:
        """As WorkerPool.run."""
        waiting = list(tasks)
        while waiting or self.tasks:
            for place in range(self.size):
                if waiting and place not in self.tasks:
                    task = waiting.pop(0)
                    seat = self.seats.get(place) or self._take_seat(place)
                    self.tasks[place] = task, seat.do.remote(f"{task.verb} {task.member_id}\n")
            poll([task for task, _ in self.tasks.values()])
            promises = {promise: place for place, (_, promise) in self.tasks.items()}
            ready, _ = self.ray.wait(list(promises), num_returns=1, timeout=0.5)
            for promise in ready:
                yield self._answer(promises[promise])
            if not waiting and self.tasks:  # seats that still wait for a core, as after the loss of a node, need those
                for place in self.seats.keys() - self.tasks.keys():
                    self.ray.kill(self.seats.pop(place))

    def stop(self, alive: Callable[[], None]) -> None:
        """As WorkerPool.stop."""
        closing = [seat.close.remote() for seat in self.seats.values()]
        deadline = time.monotonic() + GRACE_S
        while closing and time.monotonic() < deadline:
            alive()
            _, closing = self.ray.wait(closing, num_returns=len(closing), timeout=0.2)
        for seat in self.seats.values():
            self.ray.kill(seat)
        self.seats.clear()
        self.tasks.clear()

    def _take_seat(self, place: int) -> Any:
        kind = self.ray.remote(Seat).options(
            num_cpus=1, num_gpus=self.share, max_concurrency=2, scheduling_strategy="SPREAD"
        )
        self.seats[place] = seat = kind.remote(self.module, str(self.members.absolute()))
        return seat

    def _answer(self, place: int) -> TaskResult:
        task, promise = self.tasks.pop(place)
        try:
            report = self.ray.get(promise)
        except self.ray.exceptions.RayError:  # its node is gone
            report = DIED
        if report["status"] == "died":
            self.ray.kill(self.seats.pop(place))
        return TaskResult(task=task, status=report["status"], message=report.get("message", ""))


def connect() -> Any:
    """The module ray, connected to the cluster that this worker was started on."""
    import ray  # type: ignore[import-not-found,unused-ignore]

    if not ray.is_initialized():
        ray.init(address="auto", log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    return ray


def cluster_size(tasks: int) -> int:
    """How many processes to keep: one per core of all nodes, but for those that this run itself asked for."""
    cores = int(connect().cluster_resources().get("CPU", 1)) - Request.from_environment().cpus
    return max(1, min(tasks, cores))
