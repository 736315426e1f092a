"""The process that does a run: `python -m core worker RUN_ID`. It ends every run with one sentence for people.

It holds the run's lock for all its life, so that everybody sees at once when it is gone, however it went.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import socket
import subprocess
import threading
import time
import traceback
from pathlib import Path

import core
from core.common import locks
from core.common.errors import LabError, is_out_of_memory
from core.jobs.engine import ROOT, open_engine, write_owner
from core.jobs.job import Job, Stopped
from core.jobs.pool import OWN_JOB
from core.jobs.run import Run
from core.jobs.store import FOREGROUND_LOCK, JOB, STATUS, STOP, WORKER_LOCK, RunStore

SERVER_CODE = "LAB_CODE_VERSION"
"""Variable by which an engine tells a worker on another machine the version of the server's code."""
BEAT_S = 10.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_worker(run_id: str, runs_folder: Path | None = None, lock_handle: int | None = None) -> str:
    """Do the run, give the queue a push, and return the status it ended with. Raises LabError where it may not start.

    lock_handle: an inherited file descriptor that holds the run's lock already; None takes the lock.
    """
    store = RunStore(runs_folder)
    status = do_run(store, run_id, lock_handle)
    with contextlib.suppress(LabError, OSError):
        open_engine(store).tick()
    return status


def do_run(store: RunStore, run_id: str, lock_handle: int | None = None) -> str:
    """Do one run in this process, and return the status it ended with. Raises LabError where it may not start."""
    handle = _claim(store, run_id) if lock_handle is None else _adopt(store, run_id, lock_handle)
    over = threading.Event()
    if _for_job(run_id):
        threading.Thread(target=_beat, args=(store.folder(run_id) / STATUS, over), daemon=True).start()
    try:
        return _do(store, store.get(run_id))
    finally:
        over.set()
        os.close(handle)


def _for_job(run_id: str) -> bool:
    """Whether this process was started to do that run on a cluster; the runs of a study are claimed by any of its processes."""
    return os.environ.get(OWN_JOB, "").startswith(f"{run_id}-")


def _beat(status: Path, over: threading.Event) -> None:
    """Keep the status file new, by which other machines know that we live where they do not see our lock."""
    while not over.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(status)


def _claim(store: RunStore, run_id: str) -> int:
    """Take a run by hand, past the queue."""
    with store.locked():
        run = store.get(run_id)
        handle = locks.take(store.folder(run_id) / WORKER_LOCK, wait_s=1.0)
        if handle is None:
            raise LabError(f"The run {run_id} has a worker already: watch that one, or stop it first.")
        own = _for_job(run_id)
        if own and (run.status != "queued" or store.status(run_id).get(JOB) != os.environ[OWN_JOB]):
            os.close(handle)
            raise LabError(f"The run {run_id} was taken back, or given to another worker.")
        if run.status != "queued" and not run.resumable:
            os.close(handle)
            raise LabError(f"The run {run_id} cannot go on ({run.status}): {run.message or 'start a new one.'}")
        write_owner(handle, os.getpid())
        for name in (STOP,) if own else (STOP, FOREGROUND_LOCK):
            (store.folder(run_id) / name).unlink(missing_ok=True)
        started = run.started.timestamp() if run.started else time.time()
        store.write_status(
            run_id, status="running", stage="starting", message="", started=started, heartbeat=time.time()
        )
    return handle


def _adopt(store: RunStore, run_id: str, handle: int) -> int:
    try:
        fits = os.path.samestat(os.fstat(handle), (store.folder(run_id) / WORKER_LOCK).stat())
    except OSError:
        fits = False
    if not fits:
        raise LabError("--lock-handle is for the engine: start a worker by hand without it.")
    os.set_inheritable(handle, False)  # a program that we start must not keep the run alive
    write_owner(handle, os.getpid())
    return handle


def _do(store: RunStore, run: Run) -> str:
    try:
        job = Job(store, run)
    except OSError as error:
        with contextlib.suppress(OSError, LabError), store.locked():
            store.write_status(run.id, status="failed", message=sentence(error, run), ended=time.time())
        return "failed"
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: job.ask_to_stop("Stopped as asked"))
        config = store.config(run.id)
        _check_code(code := code_version())
        job.update(code_version=code)
        job.stage("starting PyTorch")
        module, _, function = run.job_kind.entry.partition(":")
        outcome = getattr(importlib.import_module(module), function)(config, job)
        job.end(outcome.status, outcome.message, final=outcome.final)
        return str(outcome.status)
    except Stopped as stop:
        if run.parts:
            count = f"{job.value('parts_done') or job.value('members_done') or 0} of {run.parts} {run.part_name}"
            job.end("stopped", f"{stop} after {count}: resume it to go on where it stopped.")
            return "stopped"
        step, saved = job.value("step") or 0, job.value("saved_step")
        total = job.value("total_steps")
        if saved and saved == total:
            job.end("stopped", f"{stop} after its last step: resume it to {run.job_kind.after_steps}.")
        else:
            goes_on = f"step {saved} of {total}" if saved else "the beginning"
            job.end("stopped", f"{stop} at step {step}: resume it to go on from {goes_on}.")
        return "stopped"
    except BaseException as error:
        if not isinstance(error, LabError):
            job.log("".join(traceback.format_exception(error)))
        job.end("failed", sentence(error, run))
        return "failed"


def _check_code(own: str) -> None:
    """Raises LabError where the server that queued the run has another version of this code."""
    wanted = os.environ.get(SERVER_CODE, own)
    if wanted != own:
        raise LabError(
            f"The code on {socket.gethostname()} is {own}, that of the server {wanted}: bring both to one version, then "
            "resume it."
        )


def sentence(error: BaseException, run: Run) -> str:
    """What went wrong and what to do, for people."""
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return "The disk is full, so the run ended with its last good checkpoint: free some space, then resume it."
    if is_out_of_memory(error):
        return run.job_kind.out_of_memory(run.config)
    if isinstance(error, OSError):
        return f"A file cannot be read or written ({error.strerror or error}): see the run's log, then resume it."
    return f"It failed with an unexpected error ({type(error).__name__}): the run's log has the details."


def code_version() -> str:
    """The version of this project, with the commit where it runs from a clone."""
    if not (ROOT / ".git").exists():
        return core.__version__
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--tags"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return core.__version__
    return f"{core.__version__} ({found})"
