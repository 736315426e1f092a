"""What a store remembers of its runs between two listings, so that a listing costs what has changed and not what there is.

A run at rest (finished, stopped, failed) changes only through the store, which notes the run in a journal that every process
reads on from where it was; active runs are read every time. What somebody changes by hand is found too: each listing
compares the files of some runs at rest with what they were, in turn, so that a few hundred runs are all compared every time.

A process that looks for the first time takes runs at rest out of an index, as far as their files are still those that it was
made of. Nothing is lost with the index: it is made again of the files.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from core.common.paths import write_atomic
from core.common.values import read_json
from core.jobs.run import Run

JOURNAL = ".changes"
"""In the store's folder: a line for each change of a run at rest, its id."""
MOST_JOURNAL_BYTES = 1_000_000
INDEX = ".index.jsonl"
"""In the store's folder: a line for each run at rest, `[id, signature, [what its files say]]`."""
INDEX_AFTER = 100
"""Runs at rest that are not in the index, before it is written again."""
MOST_INDEX_BYTES = 200_000_000
COMPARED = 200
"""Runs at rest whose files are compared with what they were, in one listing."""
SETTLED_NS = 1_000_000_000
"""What changed so recently may change again without a new time stamp."""
COMPARED_FILES = ("/config.json", "/status.json", "")

Signature = tuple[int, ...]


class Files(NamedTuple):
    """What the files of a run say."""

    config: dict[str, Any]
    status: dict[str, Any]
    has_state: bool
    has_checkpoint: bool


class Reader(Protocol):
    """Reads a run: what it is, its ticket in the queue, and what its files say; None where there is none."""

    def __call__(self, run_id: str, files: Files | None = None) -> tuple[Run, int, Files] | None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A run as it was read, its place in the queue not yet given."""

    run: Run
    ticket: int
    signature: Signature | None = None
    """Of its files; None for a run that must be read again every time."""
    line: str = ""
    """Of the index, for a run at rest."""


class Listing:
    """The runs of one store, as this process last saw them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = f"{root}/"
        self.lock = threading.Lock()
        self.entries: dict[str, Entry] = {}
        self.restless: set[str] = set()
        """Ids to read again every time."""
        self.order: list[str] = []
        self.runs: list[Run] = []
        """Newest first, without places in the queue."""
        self.seen_root: tuple[int, int] | None = None
        self.seen_journal = (0, 0)
        """Its inode, and how much of it was read."""
        self.turn = 0
        self.unindexed: int | None = None
        """Runs at rest that the index does not have; None before it was looked at."""

    def refresh(self, is_id: Callable[[str], object], read: Reader) -> tuple[list[Run], list[str]]:
        """All runs, newest first, and the ids of those that are queued, next first. Raises OSError where there is no folder."""
        with self.lock:
            changed = self._journal()
            if self.unindexed is None:
                changed, self.unindexed = set(), 0
                self._read_index(is_id, read)
            again = set(self.entries) if changed is None else changed & self.entries.keys()
            again |= self.restless | self._names(is_id)
            waiting = [run_id for run_id in self._next() if run_id not in again]
            again |= {run_id for run_id in waiting if _signature(self.base + run_id) != self.entries[run_id].signature}
            before = {run_id: entry.run.created for run_id in again if (entry := self.entries.get(run_id))}
            for run_id in again:
                self._keep(run_id, _signature(self.base + run_id), read(run_id))
            after = {run_id: entry.run.created for run_id in again if (entry := self.entries.get(run_id))}
            if before != after or len(self.order) != len(self.entries):
                self.order = sorted(self.entries, key=self._age, reverse=True)
            if again or len(self.runs) != len(self.order):
                self.runs = [self.entries[run_id].run for run_id in self.order]
            if self.unindexed >= INDEX_AFTER:
                self.unindexed = 0
                self._write_index()
            queued = [run_id for run_id in self.restless if self.entries[run_id].run.status == "queued"]
            return list(self.runs), sorted(queued, key=lambda run_id: (self.entries[run_id].ticket, run_id))

    def _read_index(self, is_id: Callable[[str], object], read: Reader) -> None:
        """Take the runs whose files are those that the index was made of. A line that is damaged is left out."""
        with contextlib.suppress(OSError), (self.root / INDEX).open("rb") as file:
            if os.fstat(file.fileno()).st_size > MOST_INDEX_BYTES:
                return
            for line in file:
                with contextlib.suppress(ValueError, TypeError):
                    run_id, signature, files = read_json(line)
                    signature, files = tuple(signature), Files(*files)
                    known = is_id(run_id) and signature == _signature(self.base + run_id)
                    if known and isinstance(files.config, dict) and isinstance(files.status, dict):
                        self._keep(run_id, signature, read(run_id, files), line.decode().rstrip())

    def _write_index(self) -> None:
        lines = [f"{entry.line}\n" for entry in self.entries.values() if entry.line]
        with contextlib.suppress(OSError):  # then the next process reads all files, too
            write_atomic(self.root / INDEX, "".join(lines), durable=False)

    def _keep(self, run_id: str, signature: Signature, found: tuple[Run, int, Files] | None, line: str = "") -> None:
        """Remember a run. line: of the index, where it is in there."""
        if found is None:
            self.entries.pop(run_id, None)
            self.restless.discard(run_id)
            return
        run, ticket, files = found
        if run.settled and not run.active and time.time_ns() - max(signature[::2]) > SETTLED_NS:
            if not line:
                line = json.dumps([run_id, signature, files])
                self.unindexed = (self.unindexed or 0) + 1
            self.entries[run_id] = Entry(run, ticket, signature, line)
            self.restless.discard(run_id)
        else:
            self.entries[run_id] = Entry(run, ticket)
            self.restless.add(run_id)

    def _names(self, is_id: Callable[[str], object]) -> set[str]:
        """The ids that are new; forgets those that are gone."""
        found = self.root.stat()
        seen = (found.st_ino, found.st_mtime_ns)
        if seen == self.seen_root:
            return set()
        names = {name for name in os.listdir(self.root) if is_id(name)}
        for run_id in self.entries.keys() - names:
            del self.entries[run_id]
            self.restless.discard(run_id)
        self.seen_root = seen if time.time_ns() - found.st_mtime_ns > SETTLED_NS else None
        return names - self.entries.keys()

    def _journal(self) -> set[str] | None:
        """The ids that were noted since the last look; None where that cannot be told."""
        try:
            with (self.root / JOURNAL).open("rb") as file:
                found = os.fstat(file.fileno())
                inode, start = self.seen_journal
                if found.st_ino == inode and found.st_size == start:
                    return set()
                known = found.st_ino == inode and found.st_size > start
                file.seek(start if known else 0)
                text = file.read()
        except FileNotFoundError:
            known, self.seen_journal = self.seen_journal == (0, 0), (0, 0)
            return set() if known else None
        whole = text[: text.rfind(b"\n") + 1]
        self.seen_journal = (found.st_ino, (start if known else 0) + len(whole))
        return set(whole.decode(errors="replace").split()) if known or inode == 0 else None

    def _next(self) -> list[str]:
        """The runs whose turn it is to be compared."""
        count = len(self.order)
        places = range(self.turn, self.turn + min(COMPARED, count))
        self.turn = places.stop % count if count else 0
        return [run_id for place in places if (run_id := self.order[place % count]) in self.entries]

    def _age(self, run_id: str) -> tuple[float, str]:
        created = self.entries[run_id].run.created
        return (created.timestamp() if created else 0.0, run_id)


@lru_cache(maxsize=64)
def listing(root: Path) -> Listing:
    """What this process remembers of the store in a folder."""
    return Listing(root)


def note_change(root: Path, run_id: str) -> None:
    """Tell all processes that a run has changed. Under the store's lock, after the change."""
    path = root / JOURNAL
    with contextlib.suppress(OSError):  # on a full disk it is found when the run's turn comes
        with path.open("ab", buffering=0) as file:
            file.write(f"{run_id}\n".encode())
            large = file.tell() > MOST_JOURNAL_BYTES
        if large:
            path.unlink()  # who has read it reads all runs again


def _signature(folder: str) -> Signature:
    """Time and size of each of the files that say what a run is; zeros for one that is not there."""
    found: list[int] = []
    for name in COMPARED_FILES:
        try:
            stat = os.stat(folder + name)
            found += (stat.st_mtime_ns, stat.st_size)
        except OSError:
            found += (0, 0)
    return tuple(found)
