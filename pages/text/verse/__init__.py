"""A written text on the page: how sure the model was of each character, what it might have written, and what it copied.

The text goes to the browser as data and is put on the page as text, so whatever it holds is shown and never run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from core.inference.generate import Character
from core.language.verbatim import Passage
from pages.shared.elements import component


def verse(
    key: str,
    prompt: str,
    characters: Sequence[Character],
    *,
    busy: bool,
    colour: bool,
    passages: Sequence[Passage] | None = (),
    on_branch: Callable[[], None] | None = None,
) -> None:
    """Show a text. on_branch: called when an alternative was clicked, which `branch(key)` then tells.

    While `busy`, alternatives stay behind: they are most of the data, and nobody points at a moving text.
    """
    data: dict[str, Any] = {
        "prompt": prompt,
        "text": "".join(item.character for item in characters),
        "busy": busy,
        "colour": colour,
        "branch": on_branch is not None,
        "label": f"{len(characters)} characters",
        "p": [round(item.probability, 4) for item in characters],
        "bits": [round(item.surprise_bits, 2) for item in characters],
        "entropy": [round(item.entropy_bits, 2) for item in characters],
        "options": None
        if busy
        else [[[name, round(share, 4)] for name, share in item.alternatives] for item in characters],
        "passages": [[item.start, item.length] for item in passages or ()],
    }
    component(__file__)(key=key, data=data, on_branch_change=on_branch or (lambda: None))


def branch(key: str) -> tuple[int, str] | None:
    """The alternative that was clicked: position and character; None if none was, or if it is none."""
    state = st.session_state.get(key)
    wanted = state.get("branch") if state is not None else None
    if not isinstance(wanted, dict):
        return None
    index, character = wanted.get("index"), wanted.get("character")
    return (index, character) if isinstance(index, int) and isinstance(character, str) else None
