"""A job of any kind as every page shows it: its line in a list, its live head with Stop and Resume, and how one starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from core.common.access import READ_ONLY, read_only
from core.common.errors import LabError
from core.jobs import Run
from core.jobs.kind import JobKind
from pages.shared.registry import page_link, switch_page
from pages.shared.resources import act, runs_now, start_new, store
from pages.shared.run_labels import STATUS, address, compares, done, fraction, where
from pages.shared.text import duration, escape_markdown, shorten, show_error

POLL_S = 3.0
AT_REST = {"stopped": "It is stopped", "failed": "It failed", "lost": "It was interrupted"}
NAME_CHARACTERS = 44
"""Of a run in a list: as many as a phone shows."""


def find_run(run_id: str) -> Run:
    """The run as it is now. Raises LabError for an id that is not valid or not there."""
    return next((run for run in runs_now() if run.id == run_id), None) or store().get(run_id)


def job_line(run: Run) -> None:
    """A run in two lines: a link to its view, and how far it is or what it gave."""
    page, query = address(run)
    summary = compares(run)
    page_link(page, escape_markdown(shorten(run.name, NAME_CHARACTERS)), icon=STATUS[run.status][2], **query)
    if run.active:
        st.progress(fraction(run), text=where(run))
        return
    best, test = run.job_kind.best(run), run.figure("test_accuracy")
    measured = f"{test:.1%} test" if test is not None else f"{best} validation" if best else ""
    over = run.status == "finished" and measured
    parts = ["" if over else STATUS[run.status][0], measured, "" if over else done(run), escape_markdown(summary)]
    parts += [duration(run.seconds)] if run.seconds else []
    st.caption(" · ".join(filter(None, parts)))


def train_links() -> None:
    """Links to the forms of a new training."""
    with st.container(horizontal=True, gap="small"):
        for page, label in (("images", "Train a classifier"), ("text", "Train a language model")):
            page_link(page, label, icon=":material/model_training:", view="Train")


def open_run(run: Run) -> None:
    """Show a run next, on the page of its kind."""
    page, query = address(run)
    switch_page(page, **query)


def start_job_button(
    label: str, kind: JobKind, config: Any, *, key: str, name_key: str, icon: str = ":material/play_arrow:"
) -> None:
    """A button that makes a run, hands it to the engine and opens it; what either refuses is one sentence below.

    config: None while there is none that is valid. name_key: of the field for the name of the run.
    """
    locked = read_only()
    if not st.button(
        label,
        key=key,
        type="primary",
        icon=icon,
        disabled=config is None or locked,
        help=READ_ONLY if locked else None,
    ):
        return
    try:
        name = st.session_state.get(name_key, "").strip() or None
        run = start_new(lambda: store().create(config, name, kind=kind.name))
    except LabError as error:
        show_error(error)
        return
    open_run(run)


def live_job(
    run: Run,
    *,
    answer: Callable[[Run], None] | None = None,
    live: Callable[[Run], None] | None = None,
    buttons: Callable[[Run], None] | None = None,
    message: Callable[[Run], str] = lambda run: run.message,
    changes: Callable[[Run], Mapping[float, Any]] = lambda run: {},
    poll_s: float = POLL_S,
) -> None:
    """How far a run is, with Stop or Resume; looks again every `poll_s` while it is under way.

    answer: draws what came of it, above all else. live: draws what is new at every look. buttons: further ones. changes:
    seconds -> a value that the rest of the page shows; all is drawn again when the run begins or ends, and when a value is
    another one and the page at least so many seconds old.
    """
    drawn, drawn_at = changes(run), time.monotonic()

    def look() -> None:
        try:
            now = find_run(run.id)
            values, age_s = changes(now), time.monotonic() - drawn_at
            if now.active != run.active or any(values[s] != drawn[s] and age_s >= s for s in values):
                st.rerun()
            _head(now, message(now))
            if answer:
                answer(now)
            with st.container(horizontal=True, gap="small"):
                _stop_or_resume(now)
                if buttons:
                    buttons(now)
            problem = st.session_state.pop("job-problem", None)
            if problem:
                show_error(problem)
            if live:
                live(now)
        except LabError as error:
            show_error(error)

    st.fragment(look, run_every=poll_s if run.active else None)()


def _head(run: Run, message: str) -> None:
    """Name, status, how far it is, and what there is to say."""
    name, colour, icon = STATUS[run.status]
    st.markdown(f"#### {escape_markdown(run.name)} :{colour}-badge[{icon} {name}]")
    st.progress(fraction(run), text=where(run))
    if run.silent_s is not None:
        st.warning(
            f"No update for {duration(run.silent_s)}: it is in a long evaluation, or its process hangs. Stop ends it, and Resume "
            "continues from its last saved state."
        )
    if message:
        (st.error if run.status in ("failed", "lost") else st.caption)(escape_markdown(message))


def _stop_or_resume(run: Run) -> None:
    """The button that fits."""
    if run.status in ("queued", "running"):
        st.button("Stop", key="stop", icon=":material/stop:", on_click=_press, args=("stop", run.id))
    elif run.status == "stopping":
        st.button("Stopping", key="stop", icon=":material/stop:", disabled=True)
    elif run.resumable:
        icon = ":material/play_arrow:"
        st.button(_resume_label(run), key="resume", icon=icon, type="primary", on_click=_press, args=("submit", run.id))


def _resume_label(run: Run) -> str:
    return "Resume" if run.keeps_work else "Start again" if run.started else "Start"


def note_nothing_yet(run: Run | None, there: str, coming: str) -> None:
    """In the place of a result that is not there yet. there: what there is; coming: what comes while the run is under way.
    Both are sentences of Markdown."""
    st.info(f"{there} {coming if run is None or run.active else _at_rest(run)}")


def _at_rest(run: Run) -> str:
    """That a run is not under way, and what the button above does."""
    if run.status not in AT_REST:
        return ""
    if not run.resumable:
        return f"{AT_REST[run.status]} and cannot go on."
    goes_on = "goes on from what is kept" if run.keeps_work else "begins with nothing done"
    return f"{AT_REST[run.status]}: {_resume_label(run)} {goes_on}."


def _press(verb: str, run_id: str) -> None:
    try:
        act(verb, run_id)
    except LabError as error:
        st.session_state["job-problem"] = str(error)
