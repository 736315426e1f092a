"""What the views of a training and of a study share: how far it is, Stop and Resume."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.jobs import Run
from pages.shared.job_words import STATUS, fraction, where
from pages.shared.resources import act
from pages.shared.text import duration, plain, show_error


def job_head(run: Run) -> None:
    """Name, status, how far it is, and what there is to say."""
    name, colour, icon = STATUS[run.status]
    st.markdown(f"#### {plain(run.name)} :{colour}-badge[{icon} {name}]")
    st.progress(fraction(run), text=where(run))
    if run.silent_s is not None:
        st.warning(
            f"No sign of life for {duration(run.silent_s)}: a slow machine may be in the middle of an evaluation, else its "
            "process hangs. Stop ends it, and Resume goes on from its last saved state."
        )
    if run.message:
        (st.error if run.status in ("failed", "lost") else st.caption)(plain(run.message))


def stop_or_resume(run: Run, resume: str) -> None:
    """The button that fits. resume: what the one that starts it again says."""
    if run.status in ("queued", "running"):
        st.button("Stop", key="stop", icon=":material/stop:", on_click=_press, args=("stop", run.id))
    elif run.status == "stopping":
        st.button("Stopping", key="stop", icon=":material/stop:", disabled=True)
    elif run.resumable:
        st.button(
            resume,
            key="resume",
            icon=":material/play_arrow:",
            type="primary",
            on_click=_press,
            args=("submit", run.id),
        )


def show_job_problem() -> None:
    """What a pressed button was refused with."""
    problem = st.session_state.pop("job-problem", None)
    if problem:
        show_error(problem)


def _press(verb: str, run_id: str) -> None:
    try:
        act(verb, run_id)
    except LabError as error:
        st.session_state["job-problem"] = str(error)
