"""Convolution / Through a network: the maps of a layer, what a unit sees, and the training images that excite a channel."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.common.pixels import encode
from core.common.progress import Progress
from pages.convolution.help import layers_help
from pages.convolution.maps import maps
from pages.convolution.window import linked_place
from pages.shared.elements import show_image
from pages.shared.network_query import NetworkQuery, ask_network, has_dataset
from pages.shared.number_field import linked_number
from pages.shared.resources import dataset
from pages.shared.tasks import find, start_button, watch
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked
from pages.shared.url_values import one_of

if TYPE_CHECKING:
    from core.convolution.layers import Exciting, LayerInfo

LAYER, CHANNEL, UNIT = "maps-layer", "maps-channel", "maps-unit"
SEARCHED = 1000
"""Training images that are looked at."""
SHOWN_PX = 96


def layers_view() -> None:
    answer = st.container()
    controls, image = st.columns([3, 2], gap="large")
    with image:
        asked = ask_network()
    if asked is None:
        return
    layers = {layer.name: layer for layer in layers_of(asked.key, _asked=asked)}
    if not layers:
        show_error("The layers of this network cannot be followed from the image on: choose another checkpoint.")
        return
    first = next(name for name, layer in layers.items() if layer.kind == "MaxPool2d" or name == list(layers)[-1])
    with controls:
        linked("layer", LAYER, one_of(layers, "layer"), first, of=asked.key, options=layers)
        name = st.selectbox(
            "Layer",
            layers,
            format_func=lambda name: f"{name} · {layers[name].kind} · {'×'.join(map(str, layers[name].shape))}",
            key=LAYER,
            persist_state="session",
        )
        layer = layers[name]
        of, last = (asked.key, name), layer.shape[0] - 1
        channel = linked_number("Channel", 0, last, 0, param="channel", key=CHANNEL, of=of, step=1)
    with answer:
        values = activations(asked.key, name, asked.pixels, _asked=asked)
        maps(
            "layer-maps",
            layer,
            values,
            asked.pixels,
            channel,
            linked_place("unit", UNIT, layer.shape[1:], of),
            on_channel=partial(give, CHANNEL),
            on_unit=partial(give, UNIT),
        )
        span = layer.span
        if math.isfinite(span.size):
            rule = f" = {span.rule}" if span.rule else ""
            st.caption(
                f"Receptive field {span.size:g}{rule}, one every {span.jump:g} pixels. "
                "Blue is above zero, orange below; all maps share one scale, by square root."
            )
    with controls:
        _exciting(asked, layer, channel)
    layers_help()


@st.cache_data(max_entries=16, show_spinner=False)
def layers_of(key: str, *, _asked: NetworkQuery) -> list[LayerInfo]:
    from core.convolution import layers

    return layers.layers_of(_asked.checkpoint)


@st.cache_data(max_entries=32, show_spinner=False)
def activations(key: str, layer: str, pixels: np.ndarray, *, _asked: NetworkQuery) -> np.ndarray:
    """(C, h, w)."""
    from core.convolution import layers

    return layers.activations(_asked.checkpoint, layer, pixels[None].copy())[0]


def _exciting(asked: NetworkQuery, layer: LayerInfo, channel: int) -> None:
    name = asked.reference.card.dataset.name
    st.markdown(f"**Training images that excite channel {channel} most**")
    if not has_dataset(asked):
        return
    key = f"exciting-{asked.key}-{layer.name}"

    def work(report: Progress) -> Exciting:
        from core.convolution.layers import most_exciting

        return most_exciting(asked.checkpoint, layer.name, dataset(name).train.images[:SEARCHED], report)

    if watch(key):
        return
    task = find(key)
    if task is None or task.result is None:
        start_button("Find them", key, work, button="find-exciting", icon=":material/search:")
        return
    found: Exciting = task.result
    train, classes = dataset(name).train, dataset(name).card.classes
    with st.container(horizontal=True, gap="small"):
        for place, value, unit in zip(found.images[channel], found.values[channel], found.units[channel], strict=True):
            label = classes[int(train.labels[place])]
            with st.container(width=SHOWN_PX + 4, gap="xsmall"):
                image = _with_field(train.images[place], layer, unit)
                show_image(image, width=SHOWN_PX, alt=f"Training image {place}: {label}, with what the unit sees")
                st.caption(f"{escape_markdown(label)} · {value:.3g}")
    st.caption(f"Of the first {found.searched:,} training images; the frame is what the most excited unit sees.")


def _with_field(pixels: np.ndarray, layer: LayerInfo, unit: np.ndarray) -> bytes:
    """PNG of a training image (H, W, 3) with a frame around what a unit sees."""
    from PIL import Image, ImageDraw

    side = pixels.shape[0]
    factor = max(1, 2 * SHOWN_PX // side)
    image = Image.fromarray(pixels).resize((side * factor, side * factor), Image.Resampling.NEAREST)
    (top, bottom), (left, right) = (layer.span.pixels(int(place), side) for place in unit)
    box = (left * factor, top * factor, (right + 1) * factor - 1, (bottom + 1) * factor - 1)
    ImageDraw.Draw(image).rectangle(box, outline=(255, 210, 63), width=4)
    return encode(image, "PNG")
