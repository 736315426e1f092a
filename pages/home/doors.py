"""Three ways on from Home: links with all that a view needs in their addresses."""

from __future__ import annotations

import streamlit as st

from pages.shared.registry import page_link

Door = tuple[str, str, dict[str, str]]
"""A link: what it says, its page and what its address carries."""
FIRST = "fast_resnet"
TEACH: tuple[Door, ...] = (
    ("An apple it never learned", "images", {"checkpoint": FIRST, "example": "apple"}),
    ("One bird, two networks", "images", {"checkpoint": FIRST, "second": "simple_cnn", "example": "bird"}),
    ("Which pixels say ship", "attribution", {"view": "Explain", "checkpoint": FIRST, "example": "ship"}),
    ("Two writers, one prompt", "text", {"view": "Side by side", "checkpoint": "char_lstm", "second": "char_rnn"}),
)
LEARN: tuple[Door, ...] = (
    ("1. Classify a drawing", "images", {"checkpoint": FIRST, "example": "car"}),
    ("2. Cover a part of it", "attribution", {"view": "Cover by hand", "checkpoint": FIRST, "example": "car"}),
    ("3. Let a network write", "text", {"view": "Write", "checkpoint": "char_lstm"}),
    ("4. See what helps it learn", "regularization", {"view": "Example"}),
    ("5. Make it small and fast", "compression", {"view": "Example"}),
)
"""About three minutes each."""
OWN: tuple[Door, ...] = (
    ("Classify my photo", "images", {}),
    ("Train on a folder of images", "images", {"view": "Train", "dataset": "folder"}),
    ("Train on a text file", "text", {"view": "Train", "dataset": "file"}),
)
DOORS = {
    ":material/co_present: Teach with it": TEACH,
    ":material/school: Learn in 15 minutes": LEARN,
    ":material/folder_open: Use my data": OWN,
}


def doors(names: set[str]) -> None:
    """Three ways on. names: the checkpoints that ship; a link to another is left out."""
    for column, (title, links) in zip(st.columns(3), DOORS.items(), strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"#### {title}")
            for label, page, query in links:
                if {query[param] for param in ("checkpoint", "second") if param in query} <= names:
                    page_link(page, label, **query)
