"""A text on the page, each character in the colour of its value: blue for, vermillion against.

The text goes to the browser as data and is put on the page as text, so whatever it holds is shown and never run.
"""

from __future__ import annotations

from core.language.attribution import TextAttribution
from pages.shared.elements import component


def coloured(key: str, found: TextAttribution, *, dark: bool) -> None:
    """Show the text that a model read, and set apart at its end the character that comes next."""
    data = {
        "text": found.prompt.text,
        "values": [round(float(value), 4) for value in found.values],
        "following": found.target,
        "baseline": found.baseline,
        "unseen": found.prompt.unseen,
        "dark": dark,
    }
    component(__file__)(key=key, data=data)
