"""A child process as its parent sees it. One computes at a time; the others wait on their pipes, where they use no processor.

`core.jobs.pool` runs its processes beside each other, which is what must not happen here: two teams of OpenMP threads slow each
other 3 to 30 times.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from core.common.devices import worker_environment
from core.common.memory import ROOT

POLL_S = 0.25
MOST_ANSWER = 8_000_000
MOST_REASON = 200


class ChildFailed(Exception):
    """It did not answer; the text says why."""


class TookTooLong(ChildFailed):
    """It was given up."""


class Child:
    """Starts a process; always `close` it."""

    def __init__(self, module: str, threads: int, *, keep_memory: bool = False) -> None:
        """module: what the process runs, with core.common.parent. keep_memory: tell the allocator what a training worker does."""
        self.folder = tempfile.TemporaryDirectory(prefix="bottleneck-lab-")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
        policy = worker_environment()
        environment |= {key: value for key, value in policy.items() if keep_memory or not key.startswith("MALLOC_")}
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        environment |= {"TORCHINDUCTOR_CACHE_DIR": self.folder.name}  # a start includes compiling
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115, closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            cwd=ROOT,
            start_new_session=True,  # so that what it starts can be ended with it
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()
        os.set_blocking(self.output, False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.output, selectors.EVENT_READ)

    def ask(self, line: str, limit_s: float, poll: Callable[[], None]) -> Any:
        """Its answer. poll is called four times a second; it may raise. Raises ChildFailed."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, which its output tells
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        deadline, text = time.monotonic() + limit_s, bytearray()
        while not text.endswith(b"\n"):
            poll()
            left = deadline - time.monotonic()
            if left <= 0:
                raise TookTooLong(f"No answer within {limit_s:g} s")
            if self.selector.select(min(left, POLL_S)):
                part = os.read(self.output, 1 << 20)
                if not part:
                    raise ChildFailed(self._last_words())
                text += part
                if len(text) > MOST_ANSWER:
                    raise ChildFailed("Its answer is too long")
        found = json.loads(text)
        if "error" in found:
            raise ChildFailed(str(found["error"])[:MOST_REASON])
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.selector.close()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        with contextlib.suppress(OSError):
            self.folder.cleanup()

    def _last_words(self) -> str:
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return "The system ended its process (SIGKILL), most likely because memory ran out"
        if code < 0:
            return f"Its process crashed ({signal.Signals(-code).name})"
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"Its process ended with exit code {code}" + (f": {lines[-1]}"[:MOST_REASON] if lines else "")
