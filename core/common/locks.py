"""Advisory file locks. The kernel gives one back when its holder ends, however it ends: that is how a dead worker shows.

A process id in a file would not do: ids are used again, and a zombie still has one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from core.common.errors import LabError

RETRY_S = 0.01


def take(path: Path, wait_s: float = 0.0) -> int | None:
    """An open file descriptor that holds the exclusive lock on `path`, or None if someone else has it after `wait_s`.

    Closing it gives the lock back. A child process that is given the descriptor shares the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(handle)
                return None
            time.sleep(RETRY_S)
        except BaseException:
            os.close(handle)
            raise


def is_held(path: Path) -> bool:
    """Whether a living process holds the exclusive lock on `path`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who look do not see each other
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


@contextlib.contextmanager
def held(path: Path, wait_s: float = 20.0) -> Iterator[None]:
    """Hold the lock on `path` for a block. Raises LabError where it cannot be had in time."""
    try:
        handle = take(path, wait_s)
    except OSError as error:
        raise LabError(
            f"{path} cannot be written ({error.strerror or error}): free space or permissions there."
        ) from error
    if handle is None:
        raise LabError(f"Another process has held {path} for {wait_s:g} seconds: wait for it, or end it.")
    try:
        yield
    finally:
        os.close(handle)
