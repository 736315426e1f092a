"""What a job in a worker writes and listens to: status, metrics rows, saved states, and the wish to stop.

Built to cost a run next to nothing: rows are buffered, the status is replaced twice a second without waiting for the
disk, and only what a resume needs is forced to it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.checkpoints.store import EPOCHS, version_words
from core.common import locks
from core.common.devices import processor_name
from core.common.errors import LabError
from core.common.paths import torn_writes, write_atomic
from core.jobs import metrics
from core.jobs.run import Run
from core.jobs.store import CONFIG, FOREGROUND_LOCK, STATE, STATUS, STOP, RunStore

WRITE_EVERY_S = 0.5
RESERVE = ".reserve"
RESERVE_BYTES = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    status: str
    """`finished` or `failed`."""
    message: str
    """One sentence for people."""
    final: bool = False
    """A failed run that would fail the same way again: no resume is offered."""


class Stopped(BaseException):
    """The run was asked to stop, and what a resume needs is on disk. Not an Exception: nothing on the way may eat it."""


class Job:
    """One run in the hands of its worker."""

    def __init__(self, store: RunStore, run: Run) -> None:
        self.run = run
        self.folder: Path = store.folder(run.id)
        self.interruptible = True
        """Whether a signal may end the job on the spot, because what a resume needs is already on disk."""
        self._status = store.status(run.id)
        self._rows: list[str] = []
        self._wanted = ""
        self._written = 0.0
        self._attached = (self.folder / FOREGROUND_LOCK).exists()
        for folder in (self.folder, self.folder / "best", self.folder / "last", *self.folder.glob(f"{EPOCHS}/*")):
            for half in torn_writes(folder):
                # Of a worker before this one that was killed; but a page may be renaming the run just now.
                if not half.name.startswith(f".{CONFIG}."):
                    half.unlink(missing_ok=True)
        # Space that is given back when the disk is full, so that the run can still say why it ended.
        (self.folder / RESERVE).write_bytes(os.urandom(RESERVE_BYTES))

    @property
    def state_path(self) -> Path:
        return self.folder / STATE

    @property
    def name(self) -> str:
        """The run's name, which may be changed while it runs."""
        try:
            return str(json.loads((self.folder / CONFIG).read_text())["name"])
        except (OSError, ValueError, KeyError, TypeError):
            return self.run.name

    def stage(self, words: str, fraction: float | None = None) -> None:
        """Say what is being done now, where it is not training."""
        new = self._status.get("stage") != words
        self.update(stage=words, stage_fraction=fraction, now=new)
        if new:
            self.log(words)
        self.stop_if_wanted()

    def downloading(self, fraction: float, words: str) -> None:
        """The same for what is fetched or prepared. A stop cancels it, which leaves nothing behind."""
        self.update(stage=f"{words}, {fraction:.0%}" if fraction else words, stage_fraction=fraction or None)
        self.stop_if_wanted()

    def update(self, *, now: bool = False, durable: bool = False, **changes: Any) -> bool:
        """Merge into the status; written at most twice a second unless `now`. True if it was written."""
        self._status |= changes
        moment = time.monotonic()
        if not now and moment - self._written < WRITE_EVERY_S:
            return False
        self._written = moment
        self._status["heartbeat"] = time.time()
        self._flush_rows()
        write_atomic(self.folder / STATUS, self._status_text(), durable=durable)
        return True

    def value(self, name: str) -> Any:
        """A field of the status as it was last set."""
        return self._status.get(name)

    def provenance(self, setup: str) -> dict[str, str]:
        """How results of this job are made: `hardware`, `versions`, `code`, `date`. setup: what used the processor."""
        return {
            "hardware": f"{processor_name()}, {setup}",
            "versions": version_words(),
            "code": str(self.value("code_version") or ""),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }

    def row(self, kind: str, values: dict[str, Any]) -> None:
        """Append a metrics row; it is on disk after the next `update` that writes."""
        self._rows.append(metrics.to_line({"kind": kind} | values))

    def sample(self, step: int, epoch: float, text: str) -> None:
        """Keep what a language model wrote at this point of its training."""
        metrics.append_row(self.folder / metrics.SAMPLES, {"step": step, "epoch": epoch, "text": text})

    def sync_rows(self) -> None:
        """Force all rows to the disk: before the state that they belong to."""
        self._flush_rows()
        try:
            with (self.folder / metrics.METRICS).open("rb") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            return  # no row yet

    def rewind(self, step: int, evaluated_step: int) -> None:
        """Forget the rows that the steps to come will write again."""
        metrics.keep_until(self.folder / metrics.METRICS, step, evaluated_step)

    def ask_to_stop(self, why: str) -> None:
        """Called by the signal handler, between two bytecodes of the main thread."""
        self._wanted = self._wanted or why
        if self.interruptible:
            raise Stopped(self._wanted)

    def stop_wanted(self) -> str:
        """Why the run is to stop now, or an empty string. Costs two microseconds."""
        if not self._wanted:
            if (self.folder / STOP).exists():
                self._wanted = "Stopped as asked"
            elif self._attached and not locks.is_held(self.folder / FOREGROUND_LOCK):
                self._wanted = "Stopped because its terminal was closed"
        return self._wanted

    def stop_if_wanted(self) -> None:
        if self.stop_wanted():
            raise Stopped(self._wanted)

    def log(self, sentence: str) -> None:
        """A line in the log, which is where a worker's standard error goes."""
        try:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), sentence, file=sys.stderr, flush=True)
        except OSError:
            pass  # the disk is full: that is told elsewhere

    def end(self, status: str, message: str, **changes: Any) -> None:
        """Write the last status, also when the disk is full: then into the place of the one that is there."""
        self.interruptible = False
        self._status |= changes | {"status": status, "message": message, "stage": "", "stage_fraction": None}
        self._status |= {"ended": time.time(), "heartbeat": time.time()}
        self.log(f"{status}: {message}")
        (self.folder / RESERVE).unlink(missing_ok=True)
        try:
            self._flush_rows()
        except OSError:
            self._rows.clear()  # a resume writes them again
        try:
            self.run.job_kind.rename(self.folder, self.name)
        except (OSError, LabError):
            pass  # they keep the name they have
        try:
            write_atomic(self.folder / STATUS, self._status_text())
        except OSError:
            with (self.folder / STATUS).open("r+b") as file:
                old = len(file.read())
                file.seek(0)
                file.write(self._status_text().encode().ljust(old))

    def _status_text(self) -> str:
        return metrics.to_line(self._status)

    def _flush_rows(self) -> None:
        if not self._rows:
            return
        data = "".join(self._rows).encode()
        with (self.folder / metrics.METRICS).open("ab", buffering=0) as file:
            written = file.write(data)
        if written != len(data):
            raise OSError(28, "No space left on device")
        self._rows.clear()
