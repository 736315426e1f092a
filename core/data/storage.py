"""Storing datasets so that a crash leaves all of one or nothing, and saying in a sentence what a disk refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from core.common import locks
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.data.progress import Meter, OnProgress

WRITE_BYTES = 1 << 24
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`; what vanishes or can't be seen while we look counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def fill_once(
    folder: Path,
    make: Callable[[Path], Path],
    *,
    is_whole: Callable[[], bool],
    needed_bytes: int,
    on_progress: OnProgress | None,
) -> None:
    """Put the folder that `make(temporary)` returns in the place of `folder`, once even where several processes ask.

    make works below the temporary folder that it gets, which is removed whatever happens; is_whole tells whether another
    process was faster. needed_bytes must be free on the disk. Raises LabError.
    """
    home = ensure_folder(folder.parent)
    waiting: Meter | None = None
    with readable_disk_errors(home):
        while (lock := locks.take(home / f"{folder.name}.lock", wait_s=0.2)) is None:
            waiting = waiting or Meter(on_progress, f"wait for another process that fetches {folder.name}")
            waiting.update(0)
        try:
            if not is_whole():
                _fill_locked(folder, make, needed_bytes)
        finally:
            os.close(lock)


def _fill_locked(folder: Path, make: Callable[[Path], Path], needed_bytes: int) -> None:
    home = folder.parent
    for leftover in home.glob(f".{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    require_space(home, needed_bytes)
    temporary = Path(tempfile.mkdtemp(dir=home, prefix=f".{folder.name}-"))
    try:
        damaged = folder.exists()
        try:
            made = make(temporary)
        except LabError as error:
            if damaged:
                raise LabError(f"The copy in {folder} is damaged, and {error}") from error
            raise
        if damaged:
            folder.rename(temporary / "old")
        made.rename(folder)
        sync_folder(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_arrays(folder: Path, arrays: dict[str, np.ndarray], on_progress: OnProgress | None) -> None:
    """Write each array as NAME.npy into the new `folder`, all on disk before this returns."""
    folder.mkdir()
    meter, done = Meter(on_progress, "write", sum(array.nbytes for array in arrays.values())), 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        with (folder / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
            # Not by np.save: on a full disk its error does not say so.
            pixels = array.data.cast("B")
            for start in range(0, len(pixels), WRITE_BYTES):
                file.write(pixels[start : start + WRITE_BYTES])
                meter.update(done + start)
            file.flush()
            os.fsync(file.fileno())
        done += array.nbytes
        meter.update(done, now=True)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise LabError where the disk of `folder` has less than `needed_bytes` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise LabError(
            f"The disk of {folder} has {free / 1e6:.0f} MB free and {needed_bytes / 1e6:.0f} MB are needed: free some, or set "
            "LAB_HOME to a folder on another disk."
        )


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
