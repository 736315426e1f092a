"""Images that people gave, kept for an hour in the memory of this server, so that a reload still has them. Never on disk."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass

import streamlit as st

from core.common.errors import LabError

KEEP_S = 3600.0
MOST_BYTES = 200_000_000
"""Of all images together; the oldest go."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came."""

    data: bytes
    title: str
    until: float


class Uploads:
    """By a random token that nobody can guess."""

    def __init__(self) -> None:
        self._found: dict[str, Upload] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def keep(self, data: bytes, title: str) -> str:
        """Returns its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._found[token] = Upload(data, title, time.monotonic() + KEEP_S)
            while len(self._found) > 1 and sum(len(each.data) for each in self._found.values()) > MOST_BYTES:
                del self._found[next(iter(self._found))]
            if self._timer is None:
                self._wait()
        return token

    def find(self, token: str) -> Upload:
        """Raises LabError where it is gone."""
        with self._lock:
            if token not in self._found:
                raise LabError("Your uploaded image is gone from this server: upload it again.")
            return self._found[token]

    def drop(self, token: str) -> None:
        with self._lock:
            self._found.pop(token, None)

    def _forget(self) -> None:
        """When the hour of the oldest is over."""
        with self._lock:
            now = time.monotonic()
            self._found = {token: each for token, each in self._found.items() if each.until > now}
            self._wait()

    def _wait(self) -> None:
        """One timer for all: the oldest stands first."""
        self._timer = None
        if self._found:
            left = next(iter(self._found.values())).until - time.monotonic()
            self._timer = threading.Timer(max(0.0, left), self._forget)
            self._timer.daemon = True
            self._timer.start()


@st.cache_resource(show_spinner=False)
def uploads() -> Uploads:
    """Those of this server."""
    return Uploads()
