"""Runs on disk: a folder each, below `lab_home()/runs`. Everything a page or the command line knows of a run is in there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.checkpoints.store import CARD, MEMBERS
from core.common import locks
from core.common.access import check_writable
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.common.values import one_line, read_json
from core.jobs.kind import DEFAULT_KIND, UNREADABLE, JobKind, find_kind
from core.jobs.listing import INDEX, Files, listing, note_change
from core.jobs.metrics import METRICS, SAMPLES, read_rows, read_samples
from core.jobs.quota import fair_order
from core.jobs.run import ACTIVE, SILENT_AFTER_S, STATUSES, Run, moment, number, read_config
from core.models import MODELS

CONFIG, STATUS, LOG, STATE = "config.json", "status.json", "log.txt", "state.pt"
STOP = "stop"
"""An empty file that asks the worker to stop."""
WORKER_LOCK = "worker.lock"
"""Held by the worker for all its life; holds its process id and host."""
FOREGROUND_LOCK = "foreground.lock"
"""Held by the terminal that a run belongs to, if it belongs to one: the run stops when the terminal goes away."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,120}")
JOB = "ray_job"
"""In the status of a run: the Ray job that is to do it."""
CLOCK = ".clock"
"""Touched to ask a shared file system for its time."""
MAX_NAME = 100
"""Characters of a run's name."""
_MAX_JSON_BYTES = 1_000_000
ABANDONED_S = 3600.0
"""Making a run's folder takes milliseconds: one that is still unnamed after so long has nobody behind it."""
Runs = list[Run]
Rows = list[dict[str, Any]]


class RunStore:
    """Create, read, rename and delete runs. Holds nothing in memory: any number of these, in any process, agree. What a
    listing remembers is a copy: see core.jobs.listing."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or lab_home() / "runs"

    def create(self, config: Any, name: str | None = None, kind: str = DEFAULT_KIND, run_id: str | None = None) -> str:
        """A new run, not started yet; returns its id. Raises LabError for an unknown model or an unusable folder.

        run_id: for runs within a run, which have names of their own; None makes one.
        """
        check_writable()
        job_kind = find_kind(kind)
        model = job_kind.facts(config).model
        if model and model not in MODELS:
            raise LabError(f"There is no model named {model[:60]!r}: choose one of {', '.join(MODELS)}.")
        name = _checked_name(name) if name else self._default_name(job_kind, config)
        if run_id is None:
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
            words = [stamp, re.sub(r"[^A-Za-z0-9_-]", "", model)[:40], secrets.token_hex(3)]
            run_id = "-".join(word for word in (*words, "" if kind == DEFAULT_KIND else kind) if word)
        ensure_folder(self.root)
        self._sweep()
        new = self.root / f".new-{run_id}"
        values = {"kind": kind, "name": name, "created": time.time(), "config": job_kind.write_config(config)}
        try:
            new.mkdir()
            write_atomic(new / CONFIG, json.dumps(values, indent=1) + "\n")
            write_atomic(new / STATUS, json.dumps({"status": "stopped", "message": "It has not been started yet."}))
            new.rename(self.root / run_id)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            raise LabError(
                f"The run cannot be written to {self.root} ({error.strerror or error}): free space there."
            ) from error
        return run_id

    def list(self) -> Runs:
        """All runs, newest first. One that cannot be read is shown as failed, with the reason."""
        try:
            runs, queued = listing(self.root.absolute()).refresh(_ID.fullmatch, self._try_read)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LabError(
                f"The folder {self.root} cannot be read ({error.strerror or error}): set LAB_HOME."
            ) from error
        if not queued:
            return runs
        by_id = {run.id: run for run in runs}
        working = [run for run in runs if run.status in ("running", "stopping") or run.handed_over]
        place = {
            run.id: position for position, run in enumerate(_in_turn([by_id[run_id] for run_id in queued], working), 1)
        }
        return [dataclasses.replace(run, queue_position=place[run.id]) if run.id in place else run for run in runs]

    def get(self, run_id: str) -> Run:
        """One run as it is now. Raises LabError for an id that is not valid or not there."""
        run, *_ = self._read(run_id)
        if run.status == "queued":
            return next((item for item in self.list() if item.id == run_id), run)
        return run

    def folder(self, run_id: str) -> Path:
        """The folder of a run. Raises LabError for an id that is not valid or not there."""
        if not isinstance(run_id, str) or not _ID.fullmatch(run_id):
            raise LabError(f"{str(run_id)[:90]!r} is not a run id: copy one from the list of runs.")
        folder = self.root / run_id
        if not (folder / CONFIG).is_file():
            raise LabError(
                f"There is no run {run_id}: it may have been deleted; the list of runs shows those there are."
            )
        return folder

    def config(self, run_id: str) -> Any:
        """What the run is to do, in the type of its kind. Raises LabError where that is not valid, as after an edit by
        hand."""
        values = _read_json(self.folder(run_id) / CONFIG)
        config, problem = read_config(values.get("kind"), values.get("config"))
        if problem:
            raise LabError(problem)
        return config

    def metrics(self, run_id: str) -> Rows:
        """All rows so far, in order: `kind` is `train` or `eval`, `seconds` the training time."""
        return read_rows(self.folder(run_id) / METRICS)

    def samples(self, run_id: str) -> Rows:
        """What a language model wrote at each evaluation so far: `step`, `epoch`, `text`."""
        return read_samples(self.folder(run_id) / SAMPLES)

    def log(self, run_id: str, most_bytes: int = 20_000) -> str:
        """The end of the worker's log."""
        try:
            with (self.folder(run_id) / LOG).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - most_bytes))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def rename(self, run_id: str, name: str) -> None:
        """Give a run, and the checkpoints it has so far, another name for people."""
        check_writable()
        name = _checked_name(name)
        with self.locked():
            folder = self.folder(run_id)
            values = _read_json(folder / CONFIG) | {"name": name}
            write_atomic(folder / CONFIG, json.dumps(values, indent=1) + "\n")
            note_change(self.root, run_id)
            if self.get(run_id).status not in ("running", "stopping"):  # else the worker does it
                self.get(run_id).job_kind.rename(folder, name)

    def reconfigure(self, run_id: str, change: Callable[[Any], Any], message: str, **status: Any) -> None:
        """Give a run another configuration; submit it afterwards. Raises LabError while it is active.

        change: from the old configuration to the new one; may raise LabError. message: what the run says until it is
        started again. status: further changes of its status.
        """
        check_writable()
        with self.locked():
            folder = self.folder(run_id)
            config = change(self.config(run_id))
            run = self.get(run_id)
            if locks.is_held(folder / WORKER_LOCK) or run.active:
                raise LabError(f"The run {run_id} is still running: stop it, or let it end, before you change it.")
            values = _read_json(folder / CONFIG) | {"config": run.job_kind.write_config(config)}
            write_atomic(folder / CONFIG, json.dumps(values, indent=1) + "\n")
            self.write_status(run_id, status="stopped", message=message, final=False, **status)

    def delete(self, run_id: str) -> None:
        """Remove a run with its checkpoints. Raises LabError while it runs."""
        check_writable()
        with self.locked():
            folder = self.folder(run_id)
            # A study's own runs live on for a moment when its worker is killed: they save what they have.
            held = any(map(locks.is_held, (folder / WORKER_LOCK, *folder.glob(f"{MEMBERS}/*/{WORKER_LOCK}"))))
            if held or self.get(run_id).status in ("running", "stopping"):
                raise LabError(f"The run {run_id} is still running: stop it before you delete it.")
            doomed = self.root / f".deleted-{run_id}-{secrets.token_hex(3)}"
            try:
                folder.rename(doomed)
            except OSError as error:
                raise LabError(f"The run {run_id} cannot be deleted ({error.strerror or error}).") from error
        shutil.rmtree(doomed, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store-wide lock: whoever queues, claims or removes a run holds it, in whichever process.

        Raises LabError where a file in the block cannot be written.
        """
        with locks.held(ensure_folder(self.root) / ".lock"):
            try:
                yield
            except OSError as error:
                reason = error.strerror or error
                raise LabError(f"The runs in {self.root} cannot be changed ({reason}): free space there.") from error

    def status(self, run_id: str) -> dict[str, Any]:
        """The raw status, for those who write it: the worker while it lives, else whoever holds the store's lock."""
        return dict(_read_json(self.folder(run_id) / STATUS))

    def write_status(self, run_id: str, **changes: Any) -> None:
        """Merge changes into the status. Only under the store's lock and while no worker holds the run."""
        values = self.status(run_id) | changes
        write_atomic(self.folder(run_id) / STATUS, json.dumps(values, indent=1) + "\n")
        note_change(self.root, run_id)

    def _sweep(self) -> None:
        """Remove what a process that was killed left of runs it was making or deleting."""
        for pattern, age_s in ((".deleted-*", 0.0), (".new-*", ABANDONED_S), (f"{INDEX}.*", ABANDONED_S)):
            for item in self.root.glob(pattern):
                with contextlib.suppress(OSError):
                    if time.time() - item.stat().st_mtime > age_s:
                        item.unlink() if item.is_file() else shutil.rmtree(item, ignore_errors=True)

    def _try_read(self, run_id: str, files: Files | None = None) -> tuple[Run, int, Files] | None:
        """`_read`, or None where the run was deleted meanwhile or is not a run."""
        try:
            return self._read(run_id, files)
        except LabError:
            return None

    def _read(self, run_id: str, files: Files | None = None) -> tuple[Run, int, Files]:
        """The run without its place in the queue, its ticket there, and what its files say. files: None reads them."""
        if files is None:
            files = _read_files(self.folder(run_id))
        stored, now = files.config, files.status
        status = now.get("status")
        if status == "running":
            folder = self.root / run_id
            if not _has_worker(folder):
                now = _read_json(folder / STATUS)  # it may have ended, or started again, between the two looks
                status = now.get("status")
                if status == "running" and not _has_worker(folder):
                    status = "stopped" if (folder / STOP).exists() else "lost"
            elif (folder / STOP).exists():
                status = "stopping"
        message = str(now.get("message") or "")
        if not now and locks.is_held(self.root / run_id / WORKER_LOCK):
            status = "running"  # its worker will soon write the next one
        elif not now:
            status, message = "lost", "Its status cannot be read: resume it to go on from the last saved state."
        elif status not in STATUSES:
            status, message = "lost", f"Its status {str(status)[:40]!r} is not known here: resume it."
        settled = status in ACTIVE or status == now.get("status")
        config, problem = read_config(stored.get("kind"), stored.get("config"))
        # What is done stays done, also where this version has no such setting any more.
        done = status == "finished" and config is not None and bool(stored.get("config"))
        if problem and status not in ACTIVE and not done:
            status, message = "failed", problem
        kind = UNREADABLE if config is None else find_kind(stored.get("kind"))
        run = Run(
            id=run_id,
            name=str(stored.get("name") or run_id)[:200],
            kind=str(stored.get("kind")),
            config=config,
            parts_done=int(number(now, "parts_done") or number(now, "members_done") or 0),
            status=status,
            message=message,
            user=str(now.get("user") or ""),
            handed_over=status == "queued" and bool(now.get(JOB)),
            step=int(number(now, "step") or 0),
            total_steps=int(number(now, "total_steps") or 0),
            created=moment(stored, "created"),
            started=moment(now, "started"),
            ended=None if status in ACTIVE else moment(now, "ended") or moment(now, "heartbeat"),
            heartbeat=moment(now, "heartbeat"),
            seconds=float(number(now, "seconds") or 0.0),
            examples_per_s=number(now, "examples_per_s"),
            figures={name: value for name in kind.figures if (value := number(now, name)) is not None},
            device=str(now.get("device") or ""),
            threads=number(now, "threads"),
            torch_version=str(now.get("torch_version") or ""),
            code_version=str(now.get("code_version") or ""),
            peak_memory_bytes=number(now, "peak_memory_bytes"),
            seconds_left=number(now, "seconds_left") if status == "running" else None,
            saved_step=number(now, "saved_step") if files.has_state or kind.keeps_parts else None,
            resumable=status in ("stopped", "failed", "lost") and not problem and not now.get("final"),
            has_checkpoint=bool(files.has_checkpoint),
            stage=str(now.get("stage") or "") if status in ("running", "stopping") else "",
            stage_fraction=number(now, "stage_fraction") if status in ("running", "stopping") else None,
            settled=settled,
        )
        if not settled and now.get("status") == "running" and not problem:
            run = dataclasses.replace(run, message=_ended_message(status == "stopped", run))
        return run, int(number(now, "ticket") or 0), files

    def _default_name(self, kind: JobKind, config: Any) -> str:
        taken = {run.name for run in self.list()}
        name = base = (kind.title(config) or kind.name)[:90]
        number = 2
        while name in taken:
            name, number = f"{base} ({number})", number + 1
        return name


def _in_turn(queued: Runs, working: Runs) -> Runs:
    """First what a cluster has in hand already, then as users take turns."""
    ahead = [run for run in queued if run.handed_over]
    return ahead + fair_order([run for run in queued if not run.handed_over], working)


def _has_worker(folder: Path) -> bool:
    """Whether a living process does the run. Where the lock of another machine's worker seems free, its status must be new: not
    every shared file system has locks that reach so far."""
    if locks.is_held(folder / WORKER_LOCK):
        return True
    try:
        host = (folder / WORKER_LOCK).read_text().partition(" ")[2]
        if not host or host == socket.gethostname():
            return False
        written = (folder / STATUS).stat().st_mtime
    except OSError:
        return False
    try:  # by the clock of the file system: those of two machines may differ
        clock = folder / CLOCK
        clock.touch()
        now = clock.stat().st_mtime
    except OSError:  # a full disk, say
        now = time.time()
    return now - written < SILENT_AFTER_S


def _ended_message(stop_requested: bool, run: Run) -> str:
    """The message of a run whose process ended unexpectedly. stop_requested: somebody had asked it to stop."""
    if run.parts:
        why = "It was stopped" if stop_requested else "Its process ended unexpectedly"
        if not run.parts_done:
            return f"{why} before any of its {run.part_name} was done: start it again."
        return f"{why}: resume it; what its {run.part_name} have done so far is kept."
    how = (
        "It was ended before it could save"
        if stop_requested
        else "Its process ended unexpectedly (killed, out of memory, or the machine restarted)"
    )
    return f"{how}: resume it to go on from {f'step {run.saved_step}' if run.saved_step else 'the beginning'}."


def _checked_name(name: str) -> str:
    name = one_line(str(name))
    if not 1 <= len(name) <= MAX_NAME:
        raise LabError(f"A run's name must have 1 to {MAX_NAME} characters: give another one.")
    return name


def _read_files(folder: Path) -> Files:
    config, status = _read_json(folder / CONFIG), _read_json(folder / STATUS)
    return Files(config, status, (folder / STATE).is_file(), (folder / "best" / CARD).is_file())


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none that can be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_JSON_BYTES + 1)
        values = read_json(content) if len(content) <= _MAX_JSON_BYTES else None
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
