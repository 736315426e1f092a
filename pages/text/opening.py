"""The text that a view opens with: written once per checkpoint on this server, as soon as PyTorch is there."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import CheckpointRef
from pages.shared.resources import loaded
from pages.shared.warmup import warmup
from pages.text.generation_task import Writing
from pages.text.sampling_form import DEFAULT, FIRST_PROMPT


def opening(reference: CheckpointRef, length: int) -> Writing | None:
    """The first characters that this checkpoint writes with the settings of a fresh form; None until PyTorch is there.

    All sessions look at the same text, so none of them may stop it. Raises LabError where the checkpoint cannot be read.
    """
    return _opening(reference.card.fingerprint, length, reference) if warmup().ready.is_set() else None


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
