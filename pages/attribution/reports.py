"""Reports of a checkpoint: those of runs on this machine, and the one that ships."""

from __future__ import annotations

import streamlit as st

from core.attribution.evidence.report import REPORTS, MethodScores, Report
from core.attribution.evidence.scores import PASSES
from core.attribution.kind import SCORES
from core.attribution.store import read_report
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.jobs import Run
from pages.shared.registry import page_link
from pages.shared.resources import runs_now, store

SHIPPED = "shipped"
"""In place of a run's id: the report that ships."""


def runs_of(reference: CheckpointRef) -> list[Run]:
    """Runs that score methods on a checkpoint, newest first. Raises LabError."""
    found = (run for run in runs_now() if run.kind == SCORES.name and run.config is not None)
    return [run for run in found if run.config.checkpoint == reference.name]


def choices(reference: CheckpointRef) -> dict[str, Run | None]:
    """Reports to choose from, the one to begin with first: id of a run -> that run; SHIPPED -> None. Raises LabError."""
    runs = runs_of(reference)
    good = {run.id: run for run in runs if run.active or run.status == "finished"}
    shipped = {SHIPPED: None} if reference.name in REPORTS.shipped_names() else {}
    return good | shipped | {run.id: run for run in runs}


def load_report(reference: CheckpointRef, choice: str) -> Report | None:
    """None while there is none. Raises LabError for one that cannot be read."""
    return REPORTS.load_shipped(reference.name) if choice == SHIPPED else read_report(store(), choice)


def over_many_images(reference: CheckpointRef, method: str) -> str:
    """What the report of these weights on the most images says of a method, in a sentence; empty where there is none."""
    found: list[tuple[int, MethodScores]] = []
    try:
        for choice in choices(reference):
            report = load_report(reference, choice)
            if report and report.config.fingerprint == reference.card.fingerprint and method in report.config.methods:
                found.append((len(report.images), _rows(reference.name, choice, _report=report)[method]))
    except LabError:
        return ""  # Scores says what is wrong
    if not found:
        return ""
    images, row = max(found, key=lambda item: item[0])
    return f"Over {images:,} test images it {'beats every control' if row.group == PASSES else f'is {row.label}'}."


def scores_link(reference: CheckpointRef, label: str) -> None:
    """To the form that scores methods on a checkpoint."""
    page_link("attribution", label, icon=":material/leaderboard:", view="Scores", checkpoint=reference.name)


@st.cache_data(max_entries=32, show_spinner=False)
def _rows(checkpoint: str, choice: str, *, _report: Report) -> dict[str, MethodScores]:
    return {row.name: row for row in _report.rows()}
