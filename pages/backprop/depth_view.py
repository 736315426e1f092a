"""Backpropagation / Depth: where gradients vanish or explode, by depth, activation and initialisation."""

from __future__ import annotations

import streamlit as st

from core.backprop.depth import ACTIVATIONS, DEPTHS, GAINS, MARKS, WIDTH, depth_flow
from core.backprop.results import DepthFlow
from core.common.values import scientific
from pages.backprop.help import depth_help
from pages.shared.elements import show_figure
from pages.shared.resources import dark
from pages.shared.url import give, linked, linked_fragment
from pages.shared.url_values import number, one_of, write_number

DEPTH, ACTIVATION, GAIN = "backprop-depth", "backprop-activation", "backprop-gain"
FADES = 1e-3
"""Below this share a gradient counts as vanished, above its inverse as exploded."""


def depth_page() -> None:
    linked_fragment(_depth)()
    depth_help()


def _depth() -> None:
    """Runs alone while a slider moves."""
    from core.backprop.figures import depth_figure

    answer, controls = st.columns([9, 3], gap="large")
    with controls:
        linked("activation", ACTIVATION, one_of(ACTIVATIONS, "activation"), "relu")
        activation = str(
            st.selectbox("Activation", list(ACTIVATIONS), format_func=title, key=ACTIVATION, persist_state="session")
        )
        linked("depth", DEPTH, number(*DEPTHS, "the depth"), 30)
        depth = st.slider("Layers", *DEPTHS, key=DEPTH, persist_state="session")
        linked("gain", GAIN, number(*GAINS, "the gain", float), 1.0, write=write_number)
        gain = st.slider(
            "Gain g",
            *GAINS,
            step=0.01,
            key=GAIN,
            help="Weights are drawn with standard deviation g/√n, for n units a layer.",
            persist_state="session",
        )
        with st.container(horizontal=True):
            for name, value in MARKS.items():
                st.button(f"{name}: {value:.2f}", key=f"backprop-{name}", on_click=give, args=(GAIN, round(value, 2)))
    with answer:
        chosen = depth_flow(depth, activation, gain)
        words = sentence(chosen, depth, activation, gain)
        st.markdown(f"## {words}")
        flows = {f"chosen, g = {gain:.2f}": chosen} | {
            f"{name}, g = {value:.2f}": depth_flow(depth, activation, value) for name, value in MARKS.items()
        }
        show_figure(depth_figure(flows, dark=dark()), key="backprop-depth-figure", alt=f"Gradient by layer. {words}")
        first, *_, last = map(scientific, chosen.activation_rms)
        st.caption(
            f"{depth} layers of {WIDTH} {title(activation)} units with random weights. Activations at the end: {last}, from "
            f"{first} at the input (root mean square)."
        )


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
