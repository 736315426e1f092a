"""Backpropagation / Network: how much gradient reaches each layer of a checkpoint, and the sum behind one weight's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.backprop.graph import agreement
from core.common.errors import LabError
from core.common.values import scientific
from pages.backprop.help import network_help
from pages.shared.elements import folded, show_figure, show_table
from pages.shared.network_query import NetworkQuery, ask_checkpoint, ask_image
from pages.shared.resources import dark
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked, linked_fragment
from pages.shared.url_values import one_of, short_text, write_short_text

if TYPE_CHECKING:
    from core.backprop.results import Flow, LayerFlow, WeightGradient

TARGET, LAYER, INDEX = "backprop-target", "backprop-layer", "backprop-index"
ANSWER = "Its answer"
MOST_LAYERS = 16
"""On the way back that is written out."""


def network_page() -> None:
    answer = st.container()
    controls, image = st.columns([2, 3], gap="large")
    with controls:
        reference = ask_checkpoint()
        if reference is None:
            return
        classes = (ANSWER, *reference.card.image_data.classes)
        linked("target", TARGET, one_of(classes, "class"), ANSWER, of=reference.name, options=classes)
        target = st.selectbox("Class that the loss asks for", classes, key=TARGET, persist_state="session")
    with image:
        asked = ask_image(reference, "gradients", examples_too=True)
    if asked is None:
        return
    with answer:
        linked_fragment(_answer)(asked, None if target == ANSWER else classes.index(target) - 1)
    network_help()


def _answer(asked: NetworkQuery, target: int | None) -> None:
    """target: the class that the loss asks for; None for the network's answer."""
    from core.backprop.figures import flow_figure
    from core.backprop.network import weight_layers

    flow = _trace(asked.key, asked.pixels, target, _asked=asked)
    st.markdown(f"## {sentence(flow)}")
    st.caption(
        f"Loss {flow.loss_nats:.4g} nats for {escape_markdown(asked.classes[flow.target])}, to which the network gives "
        f"{flow.probabilities[flow.target]:.1%}."
    )
    figure_place = st.container()
    shapes = weight_layers(asked.checkpoint)
    first = next(iter(shapes))
    linked("layer", LAYER, one_of(shapes, "layer"), first, of=asked.key, options=shapes)
    with st.container(horizontal=True):
        layer = str(
            st.selectbox(
                "Follow a weight of",
                shapes,
                format_func=lambda name: f"{name}, {'×'.join(map(str, shapes[name]))}",
                key=LAYER,
                persist_state="session",
                width=260,
            )
        )
        linked("w", INDEX, short_text, "", of=(asked.key, layer), write=write_short_text)
        st.text_input(
            "Weight",
            key=INDEX,
            placeholder="largest gradient",
            help="Output, input, row and column, from 0 on, as in 3, 0, 1, 2; empty for the one with the largest gradient.",
            persist_state="session",
            width=200,
        )
    alt = f"Gradient norm by layer. {sentence(flow)}"
    with figure_place:
        show_figure(flow_figure(flow, dark=dark(), chosen=layer), key="backprop-flow", alt=alt)
    try:
        index = parse_index(st.session_state[INDEX])
        _follow(_weight(asked.key, asked.pixels, target, layer, index, _asked=asked), flow)
    except LabError as error:
        show_error(error)
    folded("All layers", lambda: _table(flow), key="backprop-layers", param="layers")


def _follow(found: WeightGradient, flow: Flow) -> None:
    from core.backprop.figures import terms_figure

    at = ", ".join(map(str, found.index))
    places = found.from_above.size
    terms = "one product" if places == 1 else f"the sum of {places:,} products"
    st.markdown(
        f"**∂L/∂w[{at}] = {scientific(found.gradient, 4)}**, {terms}: what came from above × the input that the weight met."
    )
    if places > 1:
        show_figure(
            terms_figure(found, dark=dark()),
            key="backprop-terms",
            alt=f"Three maps: from above, input, and their product, which sums to {found.gradient:.4g}",
        )
    else:
        factors = (found.from_above[0, 0], found.local[0, 0], found.gradient)
        st.markdown("{} · {} = {}".format(*(scientific(value, 6) for value in factors)))
    st.markdown(f"**The way back**, with the norm of each layer's gradient:  \n{way_back(flow, found)}")
    show_table(
        {
            "Computed by": ["The sum", "PyTorch", "Central difference"],
            "Gradient": [scientific(value, 12) for value in (found.gradient, found.autograd, found.difference)],
            "Agrees to": [
                "–",
                agreement(found.autograd, found.gradient),
                f"{agreement(found.difference, found.gradient)}, as far as its step allows",
            ],
        },
        key="backprop-checks",
    )


def way_back(flow: Flow, found: WeightGradient) -> str:
    """The layers from the loss to a weight; lines break between them only."""
    names = [layer.name for layer in flow.layers]
    layers = flow.layers[: names.index(found.layer) - 1 : -1]
    parts = [
        f"{escape_markdown(layer.name)}\xa0**{scientific(layer.gradient_norm)}**"
        + (" and the skip connection around it" if layer.skipped and layer.name != found.layer else "")
        for layer in layers
    ]
    if len(parts) > MOST_LAYERS:
        half = MOST_LAYERS // 2
        parts[half:-half] = [f"{len(parts) - 2 * half}\xa0more"]
    return " → ".join(["L", *parts, f"∂L/∂w\xa0**{scientific(found.gradient, 4)}**"])


def parse_index(text: str) -> tuple[int, ...] | None:
    """None for the weight with the largest gradient."""
    if not text.strip():
        return None
    try:
        return tuple(int(part) for part in text[:60].split(","))
    except ValueError:
        raise LabError(f"{text[:60]!r} names no weight: give whole numbers, as in 3, 0, 1, 2.") from None


def sentence(flow: Flow) -> str:
    """How much gradient gets down, and how many units stop it."""
    top, bottom = flow.layers[-1].gradient_norm, flow.layers[0].gradient_norm
    if not top:
        return "No gradient: the network is certain of this class."
    way = f"grows {bottom / top:.3g}-fold" if bottom > top else f"shrinks to {bottom / top:.2g} of it"
    units = f"; {flow.dead:.0%} of its ReLUs let none through" if flow.dead is not None else ""
    return f"From the logits to the image the gradient {way}{units}."


def _table(flow: Flow) -> None:
    layers = flow.layers

    def cell(layer: LayerFlow) -> str:
        return "–" if layer.dead is None else f"{layer.dead:.1%}"

    show_table(
        {
            "Layer": [escape_markdown(layer.name) for layer in layers],
            "Kind": [layer.kind for layer in layers],
            "Shape": ["×".join(map(str, layer.shape)) for layer in layers],
            "Activations (RMS)": [f"{layer.activation_rms:.3g}" for layer in layers],
            "Gradient norm": [f"{layer.gradient_norm:.3g}" for layer in layers],
            "Dead ReLUs": [cell(layer) for layer in layers],
        },
        key="backprop-flow-table",
    )


@st.cache_data(max_entries=16, show_spinner=False)
def _trace(key: str, pixels: np.ndarray, target: int | None, *, _asked: NetworkQuery) -> Flow:
    from core.backprop.network import trace

    return trace(_asked.checkpoint, pixels, target)


@st.cache_data(max_entries=32, show_spinner=False)
def _weight(
    key: str, pixels: np.ndarray, target: int | None, layer: str, index: tuple[int, ...] | None, *, _asked: NetworkQuery
) -> WeightGradient:
    from core.backprop.network import weight_gradient

    return weight_gradient(_asked.checkpoint, pixels, layer, index, target)
