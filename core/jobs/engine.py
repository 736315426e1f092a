"""What starts and stops workers on this machine. There is no daemon: whoever looks, submits or ends gives the queue a push.

The truth is in the run folders, and every decision is made under the store's lock, so any number of engines (two
servers, a terminal, a worker that ends) act as one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from core.common import devices, locks
from core.common.access import check_writable
from core.common.environment import number_from
from core.common.errors import LabError
from core.jobs.quota import Quota
from core.jobs.run import Run
from core.jobs.store import FOREGROUND_LOCK, JOB, LOG, STOP, WORKER_LOCK, RunStore

GRACE_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


class LocalEngine:
    """Workers as detached processes, at most `slots` at once, first in first out.

    slots: None takes LAB_SLOTS, else one per GPU, else one. grace_s: how long a worker may take to stop by itself.
    """

    def __init__(self, store: RunStore | None = None, slots: int | None = None, grace_s: float = GRACE_S) -> None:
        self.store = store or RunStore()
        self.slots = slots if slots is not None else slots_from_environment()
        self.grace_s = grace_s
        if self.slots < 1:
            raise LabError(f"slots={self.slots} is not valid: at least one run must be able to start.")

    def submit(self, run_id: str, *, attached: bool = False, user: str = "") -> Run:
        """Queue a new run, or one that stopped, failed or was lost; it starts when a slot is free.

        One that is queued or running is left alone. attached: it belongs to the terminal that holds FOREGROUND_LOCK. user:
        who asks, see core.jobs.quota. Raises LabError for a run that has finished or cannot go on, and for a user who has
        as much as they may.
        """
        check_writable()
        with self.store.locked():
            run = self.store.get(run_id)
            folder = self.store.folder(run_id)
            if run.status in ("queued", "running"):
                return run
            if run.status == "stopping":
                raise LabError(f"The run {run_id} is still stopping: resume it in a moment.")
            if not run.resumable:
                raise LabError(_why_not_resumable(run))
            Quota.from_environment().check(self.store, user)
            (folder / STOP).unlink(missing_ok=True)
            if not attached:
                (folder / FOREGROUND_LOCK).unlink(missing_ok=True)
            waiting = [
                self.store.status(item.id).get("ticket") or 0 for item in self.store.list() if item.status == "queued"
            ]
            self.store.write_status(
                run_id,
                status="queued",
                message="",
                user=user,
                ticket=max(waiting, default=0) + 1,
                ended=None,
                final=False,
                stage="",
                **{JOB: None},  # of an earlier start
            )
        self.tick()
        return self.store.get(run_id)

    def stop(self, run_id: str, *, now: bool = False) -> Run:
        """Ask a run to stop: it saves its state within one batch. A queued one leaves the queue. Returns at once.

        A worker that has not ended after the grace period is killed by the next tick. now: kill it at once; what it
        did since its last saved state is lost. A run that is not active is left alone.
        """
        check_writable()
        with self.store.locked():
            run = self.store.get(run_id)
            folder = self.store.folder(run_id)
            if run.status == "queued":
                message = "It was taken out of the queue: resume it to queue it again."
                self.store.write_status(run_id, status="stopped", message=message, ended=time.time(), **{JOB: None})
            elif run.status in ("running", "stopping"):
                with contextlib.suppress(OSError):  # on a full disk the signal alone must do
                    (folder / STOP).touch(exist_ok=False)
                _signal(folder, signal.SIGKILL if now else signal.SIGTERM)
        self.tick()
        return self.store.get(run_id)

    def state(self, run_id: str) -> Run:
        """The run as it is now, after giving the queue a push."""
        self.tick()
        return self.store.get(run_id)

    def tick(self) -> None:
        """Recognise workers that died, end those that do not stop, start what is next in the queue. Cheap when idle."""
        if not self._work_to_do(self.store.list()):
            return
        with self.store.locked():
            runs = self.store.list()
            for run in runs:
                with contextlib.suppress(OSError):  # a full disk: readers see what is the case without it
                    self._settle(run)
            working = list(filter(_at_work, runs))
            waiting = (run for run in runs if run.status == "queued" and not run.handed_over)
            queue = sorted(waiting, key=lambda run: run.queue_position or 0)
            for run in queue:
                taken = sum(map(_places, working))
                if taken and taken + _places(run) > self.slots:
                    break
                if not _abandoned(self.store.folder(run.id)) and self._start(run, working):
                    working.append(run)

    def _work_to_do(self, runs: list[Run]) -> bool:
        runs = [run for run in runs if run.active or not run.settled]
        free = self.slots > sum(map(_places, filter(_at_work, runs)))
        for run in runs:
            if run.status == "queued" and ((free and not run.handed_over) or _abandoned(self.store.folder(run.id))):
                return True
            if run.status == "stopping" and self._overdue(run):
                return True
            if not run.settled:
                return True
        return False

    def _settle(self, run: Run) -> None:
        """Bring one run's status up to date with what is the case."""
        folder = self.store.folder(run.id)
        if not run.settled:
            ended = run.heartbeat.timestamp() if run.heartbeat else time.time()
            self.store.write_status(run.id, status=run.status, message=run.message, ended=ended)
        elif run.status == "stopping" and self._overdue(run):
            _signal(folder, signal.SIGKILL)
        elif run.status == "queued" and _abandoned(folder):
            message = "Its terminal was closed while it was in the queue: resume it to queue it again."
            self.store.write_status(run.id, status="stopped", message=message, ended=time.time())

    def _overdue(self, run: Run) -> bool:
        try:
            return time.time() - (self.store.folder(run.id) / STOP).stat().st_mtime > self.grace_s
        except OSError:
            return False

    def _start(self, run: Run, working: list[Run]) -> bool:
        """Start a worker that holds the run's lock from before it exists: it is handed over with the open file."""
        folder = self.store.folder(run.id)
        handle = locks.take(folder / WORKER_LOCK, wait_s=1.0)
        if handle is None:
            return False
        try:
            os.ftruncate(handle, 0)
            gpu = self._free_gpu(run, working)
            now = time.time()
            started = run.started.timestamp() if run.started else now
            self.store.write_status(
                run.id, status="running", stage="starting", stage_fraction=None, started=started, heartbeat=now, gpu=gpu
            )
            command = [sys.executable, "-m", "core", "worker", run.id]
            command += ["--runs-folder", str(self.store.root.absolute()), "--lock-handle", str(handle)]
            with (folder / LOG).open("ab") as log:
                process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=self._environment(run, gpu),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[handle],
                )
            write_owner(handle, process.pid)
        except OSError as error:
            message = (
                f"Its worker could not be started ({error.strerror or error}): free memory or space, then resume it."
            )
            with contextlib.suppress(OSError):  # a full disk: the run shows as lost, and may be resumed just the same
                self.store.write_status(run.id, status="failed", message=message, ended=time.time())
            return False
        finally:
            os.close(handle)
        threading.Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie behind
        return True

    def _environment(self, run: Run, gpu: str | None) -> dict[str, str]:
        environment = dict(os.environ) | devices.worker_environment(self.slots)
        if run.threads:  # sums depend on the number of threads: a resumed run keeps it
            environment |= {"OMP_NUM_THREADS": str(run.threads), "MKL_NUM_THREADS": str(run.threads)}
        # A worker gives the queue a push when it ends, and must then see what we see.
        environment["LAB_SLOTS"] = str(self.slots)
        environment.pop("LAB_READ_ONLY", None)  # a run that was started elsewhere keeps what it makes
        if choice := gpus():
            environment["LAB_GPUS"] = ",".join(choice)
            environment["CUDA_VISIBLE_DEVICES"] = gpu if gpu is not None else ",".join(choice)
        return environment

    def _free_gpu(self, run: Run, working: list[Run]) -> str | None:
        """The GPU to show to this run's worker, the least used; None to show all (one GPU, or the run names its device, or takes
        several)."""
        choice = gpus()
        if len(choice) < 2 or run.facts.devices > 1 or run.facts.device not in ("auto", "cuda"):
            return None
        used = [self.store.status(item.id).get("gpu") for item in working if item.facts.devices == 1]
        return min(choice, key=used.count)


def _at_work(run: Run) -> bool:
    return run.status in ("running", "stopping") or run.handed_over


def _places(run: Run) -> int:
    """Slots that a run takes: one for each GPU."""
    return run.facts.devices if gpus() and run.facts.device != "cpu" else 1


def engine_name() -> str:
    """What LAB_ENGINE says."""
    return os.environ.get("LAB_ENGINE", "").strip() or "local"


def open_engine(store: RunStore | None = None) -> LocalEngine:
    """What LAB_ENGINE names: `local`, which is the default, or `ray`. Raises LabError for anything else."""
    name = engine_name()
    if name == "ray":
        from core.jobs.ray_engine import RayEngine

        return RayEngine(store)
    if name != "local":
        raise LabError(f"LAB_ENGINE={name[:40]!r} is not valid: set it to local or ray, or remove it.")
    return LocalEngine(store)


def slots_from_environment() -> int:
    """LAB_SLOTS, else one run per GPU, else one."""
    slots = number_from("LAB_SLOTS", 1, 1024, whole=True)
    return max(1, devices.nvidia_gpus()) if slots is None else int(slots)


def gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls the GPUs that runs may use."""
    for name in ("LAB_GPUS", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            return [item.strip() for item in os.environ[name].split(",") if item.strip() not in ("", "-1")]
    return [str(index) for index in range(devices.nvidia_gpus())]


def write_owner(handle: int, pid: int) -> None:
    """Write into a lock file who holds it."""
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{pid} {socket.gethostname()}".encode(), 0)


def _signal(folder: Path, number: signal.Signals) -> None:
    """Send a signal to the worker of a run, if it lives on this machine. The held lock vouches for the process id."""
    try:
        pid, _, host = (folder / WORKER_LOCK).read_text().partition(" ")
        if host == socket.gethostname() and locks.is_held(folder / WORKER_LOCK):
            os.kill(int(pid), number)
    except (OSError, ValueError):
        return  # it is just starting (then it finds the stop file), or has just ended


def _abandoned(folder: Path) -> bool:
    """Whether a run belongs to a terminal that is gone."""
    return (folder / FOREGROUND_LOCK).exists() and not locks.is_held(folder / FOREGROUND_LOCK)


def _why_not_resumable(run: Run) -> str:
    if run.status == "finished":
        return f"The run {run.id} has finished: {run.job_kind.after_finish}."
    return f"The run {run.id} cannot go on: {run.message or 'it has failed for good.'}"
