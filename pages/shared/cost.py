"""What a run will take, before it starts, out of a short measurement on this machine."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.data import dataset_status
from pages.shared.resources import loaded
from pages.shared.text import UNBROKEN, duration, escape_markdown

HOW = "From a short measurement on this machine. Other work beside it makes it longer."


def answer_s(reference: CheckpointRef) -> float:
    """Processor seconds that a checkpoint takes for an image in one view, measured once. Raises LabError."""
    return _answer_s(reference.card.fingerprint, _checkpoint=loaded(reference))


@st.cache_resource(max_entries=32, show_spinner="Measuring how fast this machine is")
def _answer_s(fingerprint: str, *, _checkpoint: Checkpoint) -> float:
    from core.inference.cost import answer_seconds

    return answer_seconds(_checkpoint)


def show_time(seconds: float, dataset: str, more: str = "") -> None:
    """The time in a line, with what it leaves out: a dataset that has to be fetched first. more: in Markdown, before that."""
    time = duration(seconds).replace(" ", UNBROKEN)
    st.markdown(f"**About {time}** on this machine{more}.{_missing_words(dataset)}", help=HOW)


def _missing_words(name: str) -> str:
    """In Markdown; empty where the dataset is here."""
    try:
        status = dataset_status(name)
        return "" if status.ready else f" Not in it: {escape_markdown(status.sentence)}"
    except LabError as error:
        return f" {escape_markdown(error)}"
