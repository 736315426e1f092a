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
    ("2. Cover a part", "attribution", {"view": "Cover by hand", "checkpoint": FIRST, "example": "car"}),
    ("3. Write a text", "text", {"view": "Write", "checkpoint": "char_lstm"}),
    ("4. Help it learn", "regularization", {"view": "Example"}),
    ("5. Make it small", "compression", {"view": "Example"}),
)
"""About three minutes each."""
OWN: tuple[Door, ...] = (
    ("Classify my photo", "images", {}),
    ("Train on my photos", "datasets", {"view": "Add photos"}),
    ("Train on a text file", "text", {"view": "Train", "dataset": "file"}),
)
DOORS = {
    "Learn in 15 minutes": (":material/school:", LEARN),
    "Teach with it": (":material/co_present:", TEACH),
    "Use my data": (":material/folder_open:", OWN),
}
"""The first is open."""


def doors(names: set[str]) -> None:
    """Three ways on. names: the checkpoints that ship; a link to another is left out."""
    for title, (icon, links) in DOORS.items():
        with st.expander(title, expanded=links is LEARN, icon=icon), st.container(horizontal=True, gap="small"):
            for label, page, query in links:
                if {query[param] for param in ("checkpoint", "second") if param in query} <= names:
                    page_link(page, label, **query)
