"""What can be done with chosen runs: open, rename, resume, stop, delete (after a question)."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.jobs import Run
from core.jobs.store import MAX_NAME
from pages.shared.resources import act, forget_runs, store
from pages.shared.run_controls import open_run
from pages.shared.text import escape_markdown, show_error


def actions(chosen: list[Run]) -> None:
    """Buttons for what fits all or the one of the chosen runs."""
    if len(chosen) == 1:
        run = chosen[0]
        if st.button("Open", key="open", icon=":material/open_in_new:"):
            open_run(run)
        if st.button("Rename", key="rename", icon=":material/edit:"):
            ask_rename(run)
    if any(run.resumable and not run.active for run in chosen):
        st.button("Resume", key="resume", icon=":material/play_arrow:", on_click=_each, args=("submit", chosen))
    if any(run.status in ("queued", "running") for run in chosen):
        st.button("Stop", key="stop", icon=":material/stop:", on_click=_each, args=("stop", chosen))
    if st.button("Delete", key="delete", icon=":material/delete:"):
        ask_delete(chosen)


def _each(verb: str, chosen: list[Run]) -> None:
    for run in chosen:
        if verb == "submit" and (run.active or not run.resumable):
            continue
        if verb == "stop" and run.status not in ("queued", "running"):
            continue
        try:
            act(verb, run.id)
        except LabError as error:
            st.session_state["runs-problem"] = str(error)


@st.dialog("Rename the run")
def ask_rename(run: Run) -> None:
    with st.form("rename-form", border=False):  # a form, so that Enter saves
        name = st.text_input("Name", value=run.name, key="new-name", max_chars=MAX_NAME)
        pressed = st.form_submit_button("Save", key="save-name", type="primary")
    if pressed:
        try:
            store().rename(run.id, name or "")
        except LabError as error:
            show_error(error)
            return
        forget_runs()
        st.rerun()


@st.dialog("Delete for good?")
def ask_delete(chosen: list[Run]) -> None:
    names = ", ".join(escape_markdown(run.name) for run in chosen[:5]) + (
        f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    )
    st.markdown(f"This removes {names}: figures, logs and checkpoints. It cannot be undone.")
    active = [run.name for run in chosen if run.active]
    if active:
        st.warning(f"Stop first what still runs: {', '.join(map(escape_markdown, active))}.")
    with st.container(horizontal=True, gap="small"):
        if st.button("Keep", key="keep"):
            st.rerun()
        pressed = st.button("Delete", key="confirm-delete", icon=":material/delete:", disabled=bool(active))
    if pressed:
        for run in chosen:
            try:
                store().delete(run.id)
            except LabError as error:
                show_error(error)
                return
        forget_runs()
        st.rerun()
