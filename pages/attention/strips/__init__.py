"""One text several times, each time with other values behind its characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pages.shared.elements import component


def strips(key: str, text: str, values: Mapping[str, Sequence[float]], *, dark: bool) -> None:
    """values: title -> one for each character, 0 or more."""
    rows = [{"title": title, "values": [round(value, 5) for value in row]} for title, row in values.items()]
    component(__file__, "room.js")(key=key, data={"text": text, "rows": rows, "dark": dark})
