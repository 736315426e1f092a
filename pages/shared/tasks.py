"""Work of seconds to minutes that a page starts: fetching a dataset, evaluating a checkpoint, writing a text.

A task is a thread of the server: closing the tab does not end it. Under a key, a second tab joins it instead of starting
another.
Training is no task but a run: it must outlive the server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.common.progress import Progress
from pages.shared.text import duration, escape_markdown, show_error

THREAD = "task"
KEEP = 32
"""Finished tasks remembered by the server."""
GRACE_S = 0.5
"""A result that comes so soon is drawn without progress before it."""


class Stopped(Exception):
    """Raised inside a task by its own progress report after someone pressed Stop."""


class BackgroundTask:
    """One piece of work. `fraction` is 0..1, 0 while it is not known; `result` or `error` is set once `done`."""

    def __init__(self, work: Callable[[Progress], Any]) -> None:
        self.fraction, self.words = 0.0, "starting"
        self.result: Any = None
        self.error: str | None = None
        self.stopped = False
        self._stop = threading.Event()
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(work,), name=THREAD, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Return when it is done, or after so many seconds."""
        self._thread.join(seconds)

    def stop(self) -> None:
        """Ask it to end at its next progress report."""
        self._stop.set()

    def report(self, fraction: float, words: str) -> None:
        """What the work calls as it goes on: a `Progress`."""
        if self._stop.is_set():
            raise Stopped
        self.fraction, self.words = fraction, words

    def sentence(self) -> str:
        """`download cifar10: 43%, 12 MB/s, 9 s left`."""
        stage, _, detail = self.words.partition(" (")
        parts = [f"{100 * self.fraction:.0f}%"] if self.fraction else []
        if detail:
            parts.append(detail.removesuffix(")"))
        elif self.fraction > 0.02:
            spent = time.monotonic() - self._begun
            parts.append(f"{duration(spent / self.fraction - spent)} left")
        stage = stage[:1].upper() + stage[1:]
        return f"{stage}: {', '.join(parts)}" if parts else stage

    def _run(self, work: Callable[[Progress], Any]) -> None:
        try:
            self.result = work(self.report)
        except Stopped:
            self.stopped = True
        except LabError as error:
            self.error = str(error)
        except Exception as error:  # A thread has nobody above it to tell; the page shows this sentence.
            self.error = f"This failed with an unexpected error ({type(error).__name__}: {error})."


@st.cache_resource(show_spinner=False)
def _tasks() -> dict[str, BackgroundTask]:
    return {}


_LOCK = threading.Lock()


def start(key: str, work: Callable[[Progress], Any]) -> BackgroundTask:
    """Start `work` under `key`, or join the one that is under way."""
    with _LOCK:
        tasks = _tasks()
        found = tasks.get(key)
        if found is None or found.done:
            tasks[key] = found = BackgroundTask(work)
        for old in [name for name, task in tasks.items() if task.done][:-KEEP]:
            del tasks[old]
        return found


def find(key: str) -> BackgroundTask | None:
    """The task under `key`, under way or finished."""
    return _tasks().get(key)


def asked(key: str) -> bool:
    """Whether this session pressed the button of the task under `key`."""
    task = find(key)
    return task is not None and st.session_state.get(f"asked-{key}") is task


def watch(key: str, *, quiet: bool = False, draw: Callable[[], None] = lambda: None) -> bool:
    """Show what became of the task under `key`: its progress and a Stop button, its error, or that it was stopped; True
    while it is under way. quiet: an error is one line, for the session that asked. draw: draws below the progress, at every
    look, what there is by now."""
    task = find(key)
    if task is not None and not task.done:
        st.fragment(_progress, run_every=0.5)(key, draw)
        return True
    if task is not None and task.error:
        if not quiet:
            show_error(task.error)
        elif asked(key):
            st.caption(escape_markdown(task.error))
    elif task is not None and task.stopped:
        st.caption("Stopped.")
    return False


def start_button(label: str, key: str, work: Callable[[Progress], Any], *, button: str, **options: Any) -> None:
    """A button that starts `work` under `key`. button: its own key; options: as of `st.button`."""

    pressed = f"pressed-{button}"

    def press() -> None:  # before the page is drawn: a run that another event interrupts would lose the press
        st.session_state[pressed] = True

    st.button(label, key=button, on_click=press, **options)
    if st.session_state.pop(pressed, False):
        st.session_state[f"asked-{key}"] = start(key, work)
        st.rerun()


def background(
    key: str, slot: str, work: Callable[[Progress], Any], *, label: str, begin: bool = True, **options: Any
) -> Any | None:
    """The result of `work`, or None with its progress, or what became of it, on the page.

    slot: a session has one task of it; another key ends the one before. It is also the key of the button, which starts the
    work where it did not `begin` by itself, was stopped or failed. label: of that button; options: as of `st.button`.
    """
    drop_previous(key, slot)
    if begin and find(key) is None:
        start(key, work).wait(GRACE_S)
    if watch(key):
        return None
    task = find(key)
    if task is None or task.result is None:
        start_button(label, key, work, button=slot, icon=":material/play_arrow:", **options)
        return None
    return task.result


def drop_previous(key: str, slot: str) -> None:
    """`key` is now the session's task in that slot: quick changes would otherwise leave work under way for each."""
    place = f"task-of-{slot}"
    previous = st.session_state.get(place, key)
    task = find(previous)
    if previous != key and task is not None and not task.done:
        drop(previous)
    st.session_state[place] = key


def drop(key: str) -> None:
    """Stop the task under `key` and forget it: nobody waits for it any more."""
    with _LOCK:
        task = _tasks().pop(key, None)
    if task is not None:
        task.stop()


def _progress(key: str, draw: Callable[[], None]) -> None:
    task = find(key)
    if task is None or task.done:
        st.rerun()
        return
    st.progress(min(1.0, task.fraction), text=escape_markdown(task.sentence()))
    st.button("Stop", key=f"stop-{key}", icon=":material/stop:", on_click=task.stop)
    draw()
