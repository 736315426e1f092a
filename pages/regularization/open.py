"""Which study is looked at: the example that ships, one of this machine by its address, or none yet."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.jobs import Run
from core.regularization.store import EXAMPLE, STUDIES, read_study
from core.regularization.study import StudyConfig
from pages.regularization.add import add_to_study
from pages.regularization.help import study_help
from pages.regularization.url import STUDY
from pages.regularization.view import study_view
from pages.shared.job_panel import find_run, job_line
from pages.shared.job_parts import job_head, show_job_problem, stop_or_resume
from pages.shared.resources import runs_now, store
from pages.shared.text import plain, show_error

POLL_S = 3.0
DONE_S, GROWN_S = 6.0, 15.0
"""Least time between two drawings of the figures: where a run has ended meanwhile, and where curves have only grown. Each
costs server and browser a part of a core that the study could use."""


def example_view() -> None:
    """The study that ships."""
    try:
        result = STUDIES.load_shipped(EXAMPLE)
    except LabError as error:
        show_error(error)
        return
    st.markdown(f"#### {plain(result.name or EXAMPLE)}")
    st.fragment(study_view)(result, f"shipped-{EXAMPLE}")
    study_help()


def studies_view() -> None:
    """The study of the address, or the list of those there are."""
    run_id = STUDY.current()
    if run_id:
        # No link: one within the page would leave the study in the browser's address.
        if st.button("All studies", key="all-studies", icon=":material/arrow_back:", type="tertiary"):
            STUDY.clear()
            st.rerun()
        _study(run_id)
    else:
        _list()
    study_help()


def _list() -> None:
    try:
        studies = [run for run in runs_now() if isinstance(run.config, StudyConfig)]
    except LabError as error:
        show_error(error)
        return
    if not studies:
        st.info("No study was made here yet. New study starts one; Example shows what will be seen.")
        return
    for run in studies:
        job_line(run)


def _study(run_id: str) -> None:
    try:
        run = find_run(run_id)
        result = read_study(store(), run_id)
    except LabError as error:
        show_error(error)
        return
    st.fragment(_head, run_every=POLL_S if run.active else None)(run_id, _seen(run), time.monotonic())
    st.fragment(study_view)(result, run_id)
    if not run.active:
        add_to_study(run, result)


def _seen(run: Run) -> dict[str, Any]:
    """What the figures of a study depend on."""
    return {"active": run.active, "parts_done": run.parts_done, "step": run.step}


def _head(run_id: str, drawn: dict[str, Any], drawn_at: float) -> None:
    """How far the study is; has the figures drawn again where that is worth it."""
    try:
        run = find_run(run_id)
    except LabError as error:
        show_error(error)
        return
    now, age_s = _seen(run), time.monotonic() - drawn_at
    changed = {name for name in now if now[name] != drawn[name]}
    if "active" in changed or ("parts_done" in changed and age_s > DONE_S) or (changed and age_s > GROWN_S):
        st.rerun()
    # What a study found stands large below: here only what became of its runs, where that is news.
    count = run.parts
    said = run.message.partition(". ")[0] if run.status == "finished" else run.message
    job_head(dataclasses.replace(run, message="" if said.startswith(f"{count} of {count} runs") else said))
    with st.container(horizontal=True, gap="small"):
        stop_or_resume(run, "Resume" if run.step else "Start")
    show_job_problem()
