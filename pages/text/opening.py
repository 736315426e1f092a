"""The text that a view opens with: written once per checkpoint on this server, as soon as PyTorch is there."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.inference.sampling import SamplingConfig
from pages.shared.resources import loaded
from pages.shared.warmup import warmup
from pages.text.generation_task import Writing
from pages.text.sampling_form import DEFAULT, FIRST_PROMPT, PARAMS

Task = tuple[str, SamplingConfig, str | None]
"""Prompt, settings and precision of a text."""


def opening(key: str, length: int, *sides: tuple[CheckpointRef, Task | None]) -> tuple[list[Writing], bool]:
    """What a view writes before anybody presses its button, none until PyTorch is there; and whether it is this session's own.

    It is where the address came with settings of a text: as chosen, and the view keeps it, so that it can be stopped. Else
    the first characters after a usual prompt: all sessions look at the same text, so none of them may stop it. key: of the
    view. sides: checkpoints, and what the form says now; None where that is not valid. Raises LabError where a checkpoint or
    the prompt cannot be read.
    """
    state, tasks = st.session_state, [task for _, task in sides if task]
    if state.get(f"{key}-opening", (None,))[0] != state["visit"]:
        asked = any(param in st.query_params for param in PARAMS)
        state[f"{key}-opening"] = state["visit"], tasks if asked and len(tasks) == len(sides) else []
    tasks = state[f"{key}-opening"][1]
    if not warmup().ready.is_set():
        return [], False
    if not tasks:
        return [_opening(reference.card.fingerprint, length, reference) for reference, _ in sides], False
    checkpoints = [loaded(reference) for reference, _ in sides]  # before any begins
    return [
        Writing(checkpoint, prompt, config, precision=precision)
        for checkpoint, (prompt, config, precision) in zip(checkpoints, tasks)
    ], True


@st.cache_resource(max_entries=12, show_spinner=False)
def _opening(fingerprint: str, length: int, _reference: CheckpointRef) -> Writing:
    return Writing(loaded(_reference), FIRST_PROMPT, DEFAULT.replace(length=length))


def wait_for_pytorch() -> None:
    """Say what is being loaded, and draw the page again once it can write. The rest of the page can be used meanwhile."""
    st.fragment(_waiting, run_every=0.5)()


def _waiting() -> None:
    if warmup().ready.is_set():
        st.rerun()
    st.caption(f":material/hourglass_top: {warmup().stage}. A first text then appears here.")
