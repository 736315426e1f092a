"""Storing datasets so that a crash leaves all of one or nothing, and saying in a sentence what a disk refuses.

What is stored is checked at every load and fetched again where it is damaged, so nothing here waits for the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from core.common import locks
from core.common.access import check_writable
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.common.progress import Meter, Progress
from core.common.values import read_json

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
LEFTOVER_S = 24 * 3600
"""A temporary folder of this age belongs to a process that was killed."""
MAX_NOTE_BYTES = 1_000_000
"""Of a note that may say whose something is."""
T = TypeVar("T")
Files = dict[str, Iterable[bytes | memoryview]]
"""The parts of each file's content, by name."""


def folder_bytes(folder: Path) -> int:
    """Bytes of a file, or of all below a folder. One that vanishes or cannot be read counts as 0."""
    if folder.is_dir():
        files = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    else:
        files = [str(folder)]
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += os.lstat(file).st_size
    return total


def read_or_fetch(
    folder: Path,
    read: Callable[[], T | None],
    fetch: Callable[[Path], Files],
    *,
    needed_bytes: int,
    on_progress: Progress | None,
) -> T:
    """What `read` finds in `folder`. Where that is None (missing, damaged), the folder is first filled by `fetch`.

    fetch gets a temporary folder, which is removed whatever happens, and runs once even where several processes ask.
    needed_bytes must be free on the disk. Raises LabError.
    """
    with readable_disk_errors(folder):
        if (content := read()) is None:
            check_writable()
            home, waiting = ensure_folder(folder.parent), None
            while (lock := locks.take(home / f"{folder.name}.lock", wait_s=0.2)) is None:
                waiting = waiting or Meter(on_progress, f"wait for another process that fetches {folder.name}")
                waiting.update(0)
            try:
                if (content := read()) is None:
                    _fill(folder, fetch, needed_bytes, on_progress)
                    content = read()
            finally:
                os.close(lock)
    if content is None:
        raise LabError(f"{folder} was damaged right after it was written: check that disk, or set LAB_HOME to another.")
    return content


def read_note(path: Path, max_bytes: int) -> dict[str, Any]:
    """What the .json beside an upload says of it; empty where that is lost, damaged or longer."""
    try:
        with path.with_suffix(".json").open("rb") as file:
            note = read_json(file.read(max_bytes))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def owned_bytes(home: Path, notes: str, user: str) -> int:
    """Bytes of what a user keeps in `home`. notes: a pattern of the .json files that say whose it is: each inside a folder, or
    beside a file or folder of its own name. Files without an owner count for nobody."""
    own = [note for note in home.glob(notes) if read_note(note, MAX_NOTE_BYTES).get("user") == user]
    found = (home.glob(f"{note.stem}*") if note.parent == home else (note.parent,) for note in own)
    return sum(folder_bytes(path) for paths in found for path in paths)


def remove_leftovers(home: Path) -> None:
    """Hidden folders that killed processes and closed tabs left a day ago."""
    for leftover in home.glob(".*/"):
        with contextlib.suppress(OSError):  # removed just now
            if time.time() - leftover.stat().st_mtime > LEFTOVER_S:
                shutil.rmtree(leftover, ignore_errors=True)


def temporary_folder(home: Path) -> Path:
    """A new hidden folder in `home`, which is made where it is missing."""
    home.mkdir(parents=True, exist_ok=True)
    remove_leftovers(home)
    return Path(tempfile.mkdtemp(prefix=".", dir=home))


@contextlib.contextmanager
def readable_disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise LabError(
                f"The disk of {folder} is full: free some space, or set LAB_HOME to another disk."
            ) from error
        raise LabError(
            f"{folder} cannot be used ({error.strerror or error}): change its permissions, or set LAB_HOME to a folder you own."
        ) from error


def _fill(folder: Path, fetch: Callable[[Path], Files], needed_bytes: int, on_progress: Progress | None) -> None:
    home, damaged = folder.parent, folder.exists()
    for leftover in home.glob(f".{folder.name}-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    free = shutil.disk_usage(home).free
    if free < needed_bytes:
        raise LabError(
            f"The disk of {home} has {free / 1e6:.0f} MB free and {needed_bytes / 1e6:.0f} MB are needed: free some, or set "
            "LAB_HOME to a folder on another disk."
        )
    with tempfile.TemporaryDirectory(dir=home, prefix=f".{folder.name}-", ignore_cleanup_errors=True) as name:
        temporary = Path(name)
        try:
            files = fetch(temporary)
        except LabError as error:
            if damaged:
                raise LabError(f"The copy in {folder} is damaged, and {error}") from error
            raise
        new = temporary / "new"
        new.mkdir()
        for file_name, parts in files.items():
            Meter(on_progress, "write")
            with (new / file_name).open("wb") as file:
                file.writelines(parts)
        if damaged:
            folder.rename(temporary / "old")
        new.rename(folder)
