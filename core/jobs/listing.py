"""What a store remembers of its runs between two listings, so that a listing costs what has changed and not what there is.

A run at rest (finished, stopped, failed) changes only through the store, which notes the run in a journal that every process
reads on from where it was; active runs are read every time. What somebody changes by hand is found too: each listing
compares the files of some runs at rest with what they were, in turn, so that a few hundred runs are all compared every time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.jobs.run import Run

JOURNAL = ".changes"
"""In the store's folder: a line for each change of a run at rest, its id."""
MOST_JOURNAL_BYTES = 1_000_000
COMPARED = 200
"""Runs at rest whose files are compared with what they were, in one listing."""
SETTLED_NS = 1_000_000_000
"""What changed so recently may change again without a new time stamp."""
COMPARED_FILES = ("config.json", "status.json", "best/card.json", ".")

Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A run as it was read, its place in the queue not yet given."""

    run: Run
    ticket: int
    signature: Signature | None
    """Of its files; None for a run that must be read again every time."""


class Listing:
    """The runs of one store, as this process last saw them."""

    def __init__(self, root: Path) -> None:
        self.root = root
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

    def refresh(
        self, is_id: Callable[[str], object], read: Callable[[str], tuple[Run, int] | None]
    ) -> tuple[list[Run], list[str]]:
        """All runs, newest first, and the ids of those that are queued, next first.

        read: a run and its ticket in the queue, None where there is none. Raises OSError where there is no folder.
        """
        with self.lock:
            changed = self._journal()
            again = set(self.entries) if changed is None else changed & self.entries.keys()
            again |= self.restless | self._names(is_id)
            waiting = [run_id for run_id in self._next() if run_id not in again]
            again |= {run_id for run_id in waiting if _signature(self.root / run_id) != self.entries[run_id].signature}
            before = {run_id: entry.run.created for run_id in again if (entry := self.entries.get(run_id))}
            for run_id in again:
                self._read(run_id, read)
            after = {run_id: entry.run.created for run_id in again if (entry := self.entries.get(run_id))}
            if before != after or len(self.order) != len(self.entries):
                self.order = sorted(self.entries, key=self._age, reverse=True)
            if again or len(self.runs) != len(self.order):
                self.runs = [self.entries[run_id].run for run_id in self.order]
            queued = [run_id for run_id in self.restless if self.entries[run_id].run.status == "queued"]
            return list(self.runs), sorted(queued, key=lambda run_id: (self.entries[run_id].ticket, run_id))

    def _read(self, run_id: str, read: Callable[[str], tuple[Run, int] | None]) -> None:
        signature = _signature(self.root / run_id)
        found = read(run_id)
        if found is None:
            self.entries.pop(run_id, None)
            self.restless.discard(run_id)
            return
        run, ticket = found
        newest = max((part[1] for part in signature if part), default=0)
        rests = run.settled and not run.active and time.time_ns() - newest > SETTLED_NS
        self.entries[run_id] = Entry(run, ticket, signature if rests else None)
        (self.restless.discard if rests else self.restless.add)(run_id)

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


def _signature(folder: Path) -> Signature:
    """Inode, time and size of the files that say what a run is."""
    found: list[tuple[int, int, int] | None] = []
    base = f"{folder}/"
    for name in COMPARED_FILES:
        try:
            stat = os.stat(base + name)
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append(None)
    return tuple(found)
