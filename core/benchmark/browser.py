"""A cold server of the app and a browser to look at it with, for figures that a person at the screen would time."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.common.errors import LabError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]


def program() -> str | None:
    """Path of the installed Chromium; None lets Playwright use the one that it downloaded."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium. Raises LabError where Playwright or a browser is missing."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise LabError("This part needs Playwright and a browser: run `make test` once, which sets them up.") from error
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=program(), args=FLAGS)
        except Error as error:
            raise LabError("No browser starts here: run `make test` once, which sets one up.") from error
        with opened:
            yield opened


class Server:
    """The app in a separate process, started on construction."""

    def __init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        self.started = time.perf_counter()
        options = {"server.headless": "true", "server.port": str(port), "server.address": "127.0.0.1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
            + [word for name, value in options.items() for word in (f"--{name}", value)],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        """Until it answers. Raises LabError if it does not within a minute."""
        while time.perf_counter() - self.started < 60 and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise LabError("The app does not start here: run `make run` to see why.")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
