"""What of a written text was copied word for word from the text that the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.data import dataset_state, dataset_status, dataset_task
from core.language.verbatim import Passage, TextIndex, longest
from pages.shared.dataset_fetch import dataset_or_offer, fetch_key
from pages.shared.resources import text_dataset
from pages.shared.tasks import asked
from pages.shared.text import escape_markdown, show_error

LEAST = 20
"""Characters; shorter ones are common turns of phrase."""


def copied_passages(checkpoint: Checkpoint, text: str, *, key: str, offer: bool = True) -> list[Passage] | None:
    """Passages of 20 characters or more that stand in the training text too; None where that text is not on this machine or
    is another one by now. key: of the widgets. offer: whether the page offers to fetch it."""
    card = checkpoint.card.text_data
    try:
        known = dataset_task(card.name) == "text"
    except LabError:  # a file of the user's own that is gone, or a card that names nothing
        known = False
    if not known:
        st.caption(f"{escape_markdown(card.title)} is not on this machine any more: copies cannot be told.")
        return None
    try:
        ready = dataset_status(card.name).ready
        if text and offer and not ready:
            _offer(card.name, key)
        if not text or not ready:
            return None
        if text_dataset(card.name).card.sha256 != card.sha256:
            st.caption(f"{escape_markdown(card.title)} has changed since the model was trained: copies cannot be told.")
            return None
        with st.spinner("Looking for copied passages"):
            return _index(card.name, dataset_state(card.name)).passages(text)
    except LabError as error:
        show_error(error)
        return None


def _offer(name: str, key: str) -> None:
    """Folded until somebody asks for it: the text can be read without."""
    with st.expander("Find copied passages", icon=":material/content_copy:", expanded=asked(fetch_key(name))):
        dataset_or_offer(name, "find what was copied from it word for word", key=f"{key}-copied")


def copied_words(passages: Sequence[Passage] | None, text: str) -> str:
    """A sentence about the longest of them, in Markdown; none where nobody can tell."""
    if passages is None:
        return ""
    found = longest(passages)
    if found is None:
        return f"Nothing of {LEAST} characters or more is copied from the training text."
    share = sum(passage.length for passage in passages) / max(1, len(text))
    quote = escape_markdown(text[found.start : found.start + min(found.length, 60)].replace("\n", "↵"))
    more = "…" if found.length > 60 else ""
    return (
        f"The longest passage copied word for word from the training text has {found.length} characters: “{quote}{more}”; "
        f"{100 * share:.0f}% of the text is in passages of {LEAST} or more."
    )


@st.cache_resource(max_entries=3, show_spinner=False)
def _index(name: str, state: str) -> TextIndex:
    return TextIndex.build(text_dataset(name).train_text, LEAST)
