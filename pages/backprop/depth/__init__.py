"""Curves of deep networks on a logarithmic scale, drawn in the browser: it has all that one slider can reach from here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from core.backprop.results import DepthFlow
from core.common.theme import log_axis
from pages.shared.elements import component, sent

LOWEST = 1e-40
"""A gradient of 0 is not drawn on a logarithmic axis."""


def line(name: str, colour: str, flow: DepthFlow) -> dict[str, Any]:
    """The gradient at each layer."""
    values = [float(f"{share:.3g}") if share > LOWEST else None for share in flow.gradient_rms]
    return {"name": name, "colour": colour, "values": values}


def frame(words: str, caption: str, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is shown at one place of the sliders. lines: the chosen one, then those that the axis must hold too."""
    axis = log_axis(value for each in lines for value in each["values"])
    ticks = list(zip(axis["tickvals"], axis["ticktext"], strict=True))
    return {"words": words, "caption": caption, "range": axis["range"], "ticks": ticks, "line": lines[0]}


def depth_board(
    key: str,
    *,
    depths: Sequence[int],
    gains: Sequence[float],
    depth: int,
    gain: float,
    by_depth: Sequence[dict[str, Any]],
    by_gain: Sequence[dict[str, Any]],
    marks: Sequence[list[dict[str, Any]]],
    on_view: Callable[[int, float], None],
) -> None:
    """Show the frame of a depth and a gain.

    by_depth: a frame for each depth with this gain; by_gain: the other way about. marks: further lines, by depth. on_view: told
    what somebody chose.
    """
    state, revision = st.session_state, f"{key}-revision"
    if state.get(f"{key}-told") != (depth, gain):  # not from the browser, which may be further by now
        state[revision], state[f"{key}-told"] = state.get(revision, 0) + 1, (depth, gain)
    data = {
        "depths": depths,
        "gains": gains,
        "depth": depth,
        "gain": gain,
        "byDepth": by_depth,
        "byGain": by_gain,
        "marks": marks,
        "revision": state[revision],
    }

    def take() -> None:
        found = sent(key, "view")
        if isinstance(found, dict) and found.get("depth") in depths and found.get("gain") in gains:
            state[f"{key}-told"] = found["depth"], found["gain"]
            on_view(found["depth"], found["gain"])

    component(__file__)(key=key, data=data, on_view_change=take)
