"""Backpropagation / Depth: where gradients vanish or explode, by depth, activation and initialisation."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.backprop.depth import ACTIVATIONS, DEPTHS, GAINS, MARKS, WIDTH, depth_flow
from core.backprop.results import DepthFlow
from core.common.theme import BLUE, GREEN, ORANGE, for_theme
from core.common.values import scientific
from pages.backprop.depth import depth_board, frame, line
from pages.backprop.help import depth_help
from pages.shared.resources import dark
from pages.shared.url import give, linked, linked_fragment
from pages.shared.url_values import number, one_of, write_number

DEPTH, ACTIVATION, GAIN = "backprop-depth", "backprop-activation", "backprop-gain"
STEPS = tuple(round(0.05 * step, 2) for step in range(2, 81))
"""Of the gain, besides those with a name."""
FIRST_GAIN = 0.8
"""Smaller than any with a name: the gradient vanishes, and the line lies beside theirs."""
FADES = 1e-3
"""Below this share a gradient counts as vanished, above its inverse as exploded."""


def depth_page() -> None:
    linked_fragment(_depth)()
    depth_help()


def _depth() -> None:
    answer, controls = st.columns([9, 3], gap="large")
    with controls:
        linked("activation", ACTIVATION, one_of(ACTIVATIONS, "activation"), "relu")
        activation = str(
            st.selectbox("Activation", list(ACTIVATIONS), format_func=title, key=ACTIVATION, persist_state="session")
        )
        linked("depth", DEPTH, number(*DEPTHS, "the depth"), 30)
        linked("gain", GAIN, number(*GAINS, "the gain", float), FIRST_GAIN, write=write_number)
        with st.container(horizontal=True):
            for name, value in MARKS.items():
                st.button(f"{name}: {value:.2f}", key=f"backprop-{name}", on_click=give, args=(GAIN, round(value, 2)))
        st.caption("Weights have standard deviation g/√n, for n units a layer.")
    depth, gain = int(st.session_state[DEPTH]), float(st.session_state[GAIN])
    depths = range(DEPTHS[0], DEPTHS[1] + 1)
    gains = sorted({*STEPS, *(round(value, 2) for value in MARKS.values()), gain})
    marks = {each: _marks(each, activation) for each in depths}
    with answer:
        depth_board(
            "backprop-depth-board",
            depths=list(depths),
            gains=gains,
            depth=depth,
            gain=gain,
            by_depth=[_frame(each, activation, gain, marks[each]) for each in depths],
            by_gain=[_frame(depth, activation, each, marks[depth]) for each in gains],
            marks=list(marks.values()),
            on_view=_take,
        )


def _take(depth: int, gain: float) -> None:
    give(DEPTH, depth)
    give(GAIN, gain)


def _marks(depth: int, activation: str) -> list[dict[str, Any]]:
    colours = (for_theme(colour, dark()) for colour in (ORANGE, GREEN))
    return [
        line(f"{name}, g = {gain:.2f}", colour, depth_flow(depth, activation, gain))
        for (name, gain), colour in zip(MARKS.items(), colours, strict=True)
    ]


def _frame(depth: int, activation: str, gain: float, marks: list[dict[str, Any]]) -> dict[str, Any]:
    flow = depth_flow(depth, activation, gain)
    first, *_, last = map(scientific, flow.activation_rms)
    caption = (
        f"{depth} layers of {WIDTH} {title(activation)} units with random weights. Activations at the end: {last}, from "
        f"{first} at the input (root mean square)."
    )
    chosen = line(f"chosen, g = {gain:.2f}", for_theme(BLUE, dark()), flow)
    return frame(sentence(flow, depth, activation, gain), caption, [chosen, *marks])


def title(activation: str) -> str:
    return "ReLU" if activation == "relu" else activation


def sentence(flow: DepthFlow, depth: int, activation: str, gain: float) -> str:
    """What becomes of the gradient with these weights."""
    name = next((f"{name}'s weights" for name, value in MARKS.items() if round(value, 2) == gain), f"g = {gain:.2f}")
    setting, share = f"With {title(activation)} and {name} the gradient", scientific(flow.share)
    if flow.share < FADES:
        return f"{setting} vanishes: {share} of it reaches the first of {depth} layers."
    if flow.share > 1 / FADES:
        return f"{setting} explodes: the first of {depth} layers gets {share} times as much."
    return f"{setting} gets through: the first of {depth} layers gets {share} times the last one's."
