"""What a child process owes the one that started it (core.common.child): answers on its output, and an end with it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from core.common.errors import LabError, is_out_of_memory

WATCH_S = 1.0
MEMORY_RAN_OUT = "Memory ran out"


def end_with_parent(end: Callable[[], object]) -> None:
    """Call `end` in a separate thread as soon as the parent is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        end()

    threading.Thread(target=watch, daemon=True).start()


def reason(error: BaseException) -> str:
    """Why it failed, in one line."""
    if isinstance(error, LabError):
        return str(error)
    if is_out_of_memory(error):
        return MEMORY_RAN_OUT
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def take_stdout() -> Callable[[Any], None]:
    """What answers; whatever libraries print goes to stderr."""
    out: IO[str] = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(values: Any) -> None:
        out.write(json.dumps(values) + "\n")
        out.flush()

    return say


def end_group() -> None:
    """This process, and what it started, such as a compiler."""
    os.killpg(0, signal.SIGKILL)
