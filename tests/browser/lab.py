"""The real app in a process of its own, with a LAB_HOME of its own, and the end of everything it started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 60


@dataclass
class Lab:
    """A server on a free port. `start` and `stop` may be called again: the runs in `home` stay."""

    home: Path
    log: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it says it is healthy."""
        self.port = self.port or free_port()
        command = [
            *(sys.executable, "-m", "streamlit", "run", "streamlit_app.py"),
            *("--server.headless", "true", "--server.port", str(self.port), "--server.address", "127.0.0.1"),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"LAB_HOME": str(self.home), "LAB_SLOTS": "1", "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"The server ended at once:\n{self.log.read_text()}"
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(f"The server did not answer within {START_LIMIT_S} s:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End the server; its workers go on, as they do for a user."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def workers(self) -> list[psutil.Process]:
        """The living processes that train in this LAB_HOME."""
        found = []
        for process in psutil.process_iter():
            try:
                works = {"worker", "core.regularization.member"} & set(process.cmdline())
                if works and process.environ().get("LAB_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end_workers(self) -> None:
        workers = self.workers()
        for worker in workers:
            worker.kill()
        psutil.wait_procs(workers, timeout=10)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
