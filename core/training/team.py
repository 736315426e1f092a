"""One training on several devices: processes that each compute the gradient of their share of every batch.

The worker is the first of them: it starts the others, evaluates, saves and says when it is over. PyTorch's
DistributedDataParallel (arXiv:2006.15704) makes the gradient on each that of the whole batch. All read the same data, draw
the same batches from seed and step, and go on from the same saved state.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from core.common.devices import pick_device
from core.common.errors import LabError
from core.common.memory import ROOT
from core.training.config import TrainConfig

if TYPE_CHECKING:
    from core.jobs.job import Job

Forward = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
WAIT = datetime.timedelta(days=7)
"""Others wait while the first one evaluates."""
POLL_S = 0.05
GONE_S, STUCK_S = 1.0, 10.0
"""How long after its connection a process ends; and how long the first one may go on waiting for one that is gone."""


class Team:
    """This process's place among `size` that train one network; `Team()` trains alone."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def join(cls, meeting: Path, rank: int, size: int) -> Team:
        """Wait until all are there. meeting: a file that all see."""
        store = dist.FileStore(str(meeting), size)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=WAIT)
        return cls(rank, size)

    def share(self, batch: Tensor) -> Tensor:
        """The rows that are this process's."""
        return batch.chunk(self.size)[self.rank]

    def total(self, sums: Tensor) -> Tensor:
        """Over all processes."""
        if self.size > 1:
            dist.all_reduce(sums)
        return sums

    def seed(self, seed: int) -> int:
        """For what is random within the network: others drop other units."""
        return seed + self.rank * 1_000_000_007

    def wrap(self, model: nn.Module, forward: Forward) -> Forward:
        """`forward`, after whose backward pass the gradients are means over all processes. Parameters that are trained must
        stay the same: call it again once one is frozen."""
        if self.size == 1:
            return forward
        return nn.parallel.DistributedDataParallel(_Forward(model, forward))


class _Forward(nn.Module):
    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model, self._of = model, forward

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self._of(inputs, targets)


def device_of(config: TrainConfig, rank: int) -> str:
    """Where the process of that rank trains: the CPU, or the GPU that the configuration names and those after it. Raises LabError
    where there are too few."""
    first = pick_device(config.device)
    if config.devices == 1 or first == "cpu":
        return first
    there = torch.cuda.device_count() if first.startswith("cuda") else 1
    start = int(first.partition(":")[2] or 0)
    if start + config.devices > there:
        raise LabError(
            f"devices={config.devices} needs as many GPUs, and there are {there - start} from {first} on: set devices to "
            f"{there - start}, or device to cpu."
        )
    return f"cuda:{start + rank}"


@contextlib.contextmanager
def start_team(config: TrainConfig, job: Job) -> Iterator[Team]:
    """The team of a run, of which this process is the first; the others are started here, and end here. Raises LabError where
    one of them is lost."""
    size = config.devices
    if size == 1:
        yield Team()
        return
    device = device_of(config, size - 1)
    threads = job.run.threads or max(1, torch.get_num_threads() // size)
    torch.set_num_threads(threads)
    others: list[subprocess.Popen[bytes]] = []
    over = threading.Event()
    try:
        with tempfile.TemporaryDirectory() as folder:
            meeting = Path(folder) / "meeting"
            for rank in range(1, size):
                others.append(_start(job, meeting, rank, size, threads))
            threading.Thread(target=_watch, args=(others, job, over), daemon=True).start()
            while any(not ready(meeting, rank).exists() for rank in range(1, size)):
                _check(others)
                job.stop_if_wanted()
                time.sleep(POLL_S)
            yield Team.join(meeting, 0, size)
    except RuntimeError as error:
        time.sleep(GONE_S)
        _check(others, error)
        raise
    finally:
        over.set()
        # They write nothing, and wait for us at most a step ahead.
        for other in others:
            other.kill()
            other.wait()
        if dist.is_initialized() and device == "cpu":  # NCCL would wait for them; it ends with this process
            dist.destroy_process_group()


def _watch(others: list[subprocess.Popen[bytes]], job: Job, over: threading.Event) -> None:
    """End the run where this process waits within PyTorch for one that is gone, and does not hear of it."""
    while not over.wait(1.0):
        if any(other.poll() is not None for other in others):
            if not over.wait(STUCK_S):
                job.end("failed", _lost(others))
                os._exit(1)
            return


def ready(meeting: Path, rank: int) -> Path:
    """A file by which a process says that it is about to join."""
    return meeting.with_suffix(f".{rank}")


def _check(others: list[subprocess.Popen[bytes]], error: Exception | None = None) -> None:
    if any(other.poll() is not None for other in others):
        raise LabError(_lost(others)) from error


def _lost(others: list[subprocess.Popen[bytes]]) -> str:
    return f"One of the {len(others) + 1} processes that share this training ended: see the run's log, then resume it."


def _start(job: Job, meeting: Path, rank: int, size: int, threads: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "core.training.team_member", str(job.folder), str(meeting), str(rank), str(size)]
    count = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | count, stdin=subprocess.DEVNULL)
