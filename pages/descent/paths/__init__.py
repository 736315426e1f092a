"""Paths on a map with their charts, drawn in the browser: the start is dragged there, steps and rates are scrubbed.

The browser holds what somebody moves and sends it a few times a second. Where the page sets another start or another function
it gives that a new revision, and what the browser still sends of an older one is not taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from core.common.errors import LabError
from pages.shared.elements import component, sent_of
from pages.shared.url import linked
from pages.shared.url_values import number, one_of, write_number

Point = tuple[float, float]


def paths(key: str, data: dict[str, Any]) -> None:
    """Show them. data: `mode` (`steps` or `rates`), `map` or None, `series`, `charts`, `steps`, `start`, `place`, `chosen`,
    `numbers`, `mark`, `markAt`, `label`, `revision`."""
    component(__file__)(key=key, data=data, on_start_change=lambda: None, on_view_change=lambda: None)


def linked_start(key: str, identity: str, default: Point, window: Sequence[float]) -> tuple[Point, bool]:
    """The start that was chosen on the component `key`, else the default; and whether it is being dragged.

    identity: of the function, to which a start belongs. window: x from, x to, y from, y to of the map.
    """
    state, chosen = st.session_state, f"{key}-start"
    if linked("start", chosen, partial(_read_point, window=window), None, write=_write_point, of=identity):
        _renew(key)
    sent = sent_of(key, "start", _revision(key, identity))
    point = (sent.get("x"), sent.get("y"))
    if all(isinstance(part, int | float) and math.isfinite(part) for part in point):
        start: Point = (float(point[0]), float(point[1]))  # type: ignore[arg-type]
        done = sent.get("done") is True
        if done:
            state[chosen] = start
        return start, not done
    return state[chosen] or default, False


def linked_view(key: str, identity: str, default: int, most: int, names: tuple[str, ...]) -> tuple[int, str, str]:
    """The step or the rate that is shown, whose formula is, and the revision to give to the component."""
    state, place, chosen = st.session_state, f"{key}-place", f"{key}-chosen"
    renewed = linked("at", place, number(0, most, "the step or rate"), default)
    if names:
        renewed |= linked("show", chosen, one_of(names, "optimizer"), names[0], options=names)
    if renewed:
        _renew(key)
        return state[place], state[chosen] if names else "", _revision(key, identity)
    revision = _revision(key, identity)
    sent = sent_of(key, "view", revision)
    if isinstance(sent.get("place"), int) and 0 <= sent["place"] <= most:
        state[place] = sent["place"]
    if names and sent.get("chosen") in names:
        state[chosen] = sent["chosen"]
    return min(state[place], most), state[chosen] if names else "", revision


def _revision(key: str, identity: str) -> str:
    return f"{identity} {st.session_state.get(f'{key}-revision', 0)}"


def _renew(key: str) -> None:
    st.session_state[f"{key}-revision"] = st.session_state.get(f"{key}-revision", 0) + 1


def _read_point(text: str, window: Sequence[float]) -> Point:
    parts = text[:60].split(",")
    try:
        x, y = (float(part) for part in parts)
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise LabError(f"The link says {text[:60]!r} for the start, which is not two numbers: the default is used.")
    width = window[1] - window[0]
    for value, low, high in ((x, *window[:2]), (y, *window[2:])):
        if not low - width <= value <= high + width:
            raise LabError(f"The link says {text[:60]!r} for the start, which is far off the map: the default is used.")
    return x, y


def _write_point(point: Point | None) -> str | None:
    return None if point is None else ",".join(map(write_number, point))
