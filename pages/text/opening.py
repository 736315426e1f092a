"""The text that a view opens with: written once per checkpoint on this server, as soon as PyTorch is there."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.inference.sampling import SamplingConfig
from pages.shared.resources import loaded
from pages.shared.warmup import warmup
from pages.text.generation_task import Writing
from pages.text.sampling_form import DEFAULT, FIRST_PROMPT, PARAMS

Task = tuple[str, SamplingConfig, str | None]
"""Prompt, settings and precision of a text."""


def opening_tasks(key: str, length: int, *chosen: Task | None) -> list[Task]:
    """What a view writes before anybody presses its button: as chosen, where the address came with settings of a text;
    else the first characters after a usual prompt. key: of the view. chosen: as the form has it now; None where that is
    not valid."""
    state = st.session_state
    if state.get(f"{key}-opening", (None,))[0] != state["visit"]:
        asked = any(param in st.query_params for param in PARAMS)
        usual: Task = (FIRST_PROMPT, DEFAULT.replace(length=length), None)
        state[f"{key}-opening"] = state["visit"], [task if asked and task else usual for task in chosen]
    found: list[Task] = state[f"{key}-opening"][1]
    return found


def opening(reference: CheckpointRef, task: Task) -> Writing | None:
    """What this checkpoint writes; None until PyTorch is there.

    All sessions look at the same text, so none of them may stop it. Raises LabError where the checkpoint or the prompt cannot
    be read.
    """
    prompt, config, precision = task
    ready = warmup().ready.is_set()
    return _opening(reference.card.fingerprint, prompt, config.to_dict(), precision, reference) if ready else None


@st.cache_resource(max_entries=12, show_spinner=False)
def _opening(
    fingerprint: str, prompt: str, config: dict[str, Any], precision: str | None, _reference: CheckpointRef
) -> Writing:
    return Writing(loaded(_reference), prompt, SamplingConfig(**config), precision=precision)


def wait_for_pytorch() -> None:
    """Say what is being loaded, and draw the page again once it can write. The rest of the page can be used meanwhile."""
    st.fragment(_waiting, run_every=0.5)()


def _waiting() -> None:
    if warmup().ready.is_set():
        st.rerun()
    st.caption(f":material/hourglass_top: {warmup().stage}. A first text then appears here.")
