"""What a study will cost, in words, before it starts."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.data import DATASETS, dataset_sizes, dataset_status
from core.regularization.cost import before_start, cost
from core.regularization.study import StudyConfig
from pages.shared.resources import engine
from pages.shared.text import duration, escape_markdown, size


def check_sizes(config: StudyConfig) -> None:
    """Raises LabError where a known dataset has fewer training images; of a folder the study finds out when it starts."""
    if config.dataset in DATASETS:
        extra = dataset_sizes(config.extra_dataset).get("train") if config.extra_dataset else None
        config.check_data(dataset_sizes(config.dataset)["train"], extra)


def show_cost(config: StudyConfig, done: int = 0) -> None:
    """Runs, time, disk and what has to be fetched first. done: runs that are over already."""
    line, why = _cost_words(config, done)
    st.markdown(line, help=why)


def _cost_words(config: StudyConfig, done: int) -> tuple[str, str | None]:
    """The line in Markdown, and what its time rests on, where there is one."""
    device, at_once = before_start(config, engine().slots)
    found = cost(config, device, at_once, done)
    at_once = min(at_once, max(found.runs, 1))
    side_by_side = f", {at_once} at a time" if at_once > 1 else ""
    parts = [f"**{found.runs} {'run' if found.runs == 1 else 'runs'}**{side_by_side}"]
    if found.seconds is None:
        parts.append("time unknown until it was measured here")
    else:
        parts.append(f"about **{duration(found.seconds)}** on this machine")
    parts.append(f"{size(found.size_bytes)} of checkpoints")
    why = None
    if found.seconds is not None:
        why = (
            "The time rests on an earlier study here."
            if found.measured
            else "The time is a first guess from the model's size: a study of some minutes will know better."
        )
    try:
        status = dataset_status(config.dataset)
        missing = "" if status.ready else f" {escape_markdown(status.sentence)}"
    except LabError as error:
        missing = f" {escape_markdown(error)}"
    return " · ".join(parts) + "." + missing, why
