"""What both views of a text ask: a checkpoint with attention, and a text."""

from __future__ import annotations

import streamlit as st

from core.attention.text import has_text_attention
from core.checkpoints.store import CheckpointRef
from core.inference.text import read
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.copy_link import not_in_link
from pages.shared.text import show_reading
from pages.shared.url import linked
from pages.shared.url_values import TEXT_CHARACTERS, short_text, write_short_text

PROMPT = "attention-prompt"
FIRST = (
    "JULIET:\nO Romeo, Romeo! wherefore art thou Romeo?\nDeny thy father and refuse thy name.\n\n"
    "ROMEO:\nShall I hear more, O Rom"
)
"""Names, lines and a word that came before: something for every role."""
NAMES = {" ": "a space", "\n": "a new line", "\t": "a tab"}


def ask_text() -> tuple[CheckpointRef, str] | None:
    """The controls; None, with a sentence on the page, where there is no checkpoint."""
    left, right = st.columns([3, 2], gap="large")
    with right:
        reference = checkpoint_picker(
            "Checkpoint", "attention-checkpoint", param="checkpoint", task="text", fits=has_text_attention
        )
    with left:
        linked("prompt", PROMPT, short_text, FIRST, write=write_short_text)
        text = st.text_area("Text", key=PROMPT, height=150, persist_state="session") or ""
        if len(text) > TEXT_CHARACTERS:
            not_in_link(f"The text is not in the link: it has more than {TEXT_CHARACTERS} characters.")
    return None if reference is None else (reference, text)


def note_reading(reference: CheckpointRef, text: str, kept: str) -> None:
    """What was read otherwise than it was typed, and what was left out."""
    reading = read(text, reference.card.text_data.vocabulary)
    show_reading(reading.replaced, reading.line_breaks, "the text")
    if dropped := len(reading.text) - len(kept):
        st.info(f"Only the last {len(kept):,} characters are read; {dropped:,} before them are left out.")


def spoken(character: str) -> str:
    """A character in a sentence; not Markdown."""
    return NAMES.get(character, f"“{character}”")
