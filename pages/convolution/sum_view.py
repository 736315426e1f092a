"""Convolution / One sum: the terms of one output, on a digit, an image, or what reaches a trained layer."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from core.common.errors import LabError
from core.convolution.arithmetic import (
    DIGITS,
    PRESETS,
    Sums,
    WindowSettings,
    compute,
    digits,
    image_channels,
    parse_kernel,
)
from pages.convolution.help import sum_help
from pages.convolution.window import linked_place, window
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.elements import folded
from pages.shared.image_view import look
from pages.shared.network_query import NetworkQuery, ask_network, example_image
from pages.shared.number_field import linked_number
from pages.shared.text import escape_markdown, show_error
from pages.shared.upload_box import upload_box
from pages.shared.url import give, linked, linked_flag, write_url
from pages.shared.url_values import one_of, short_text, write_short_text
from pages.shared.warmup import until_ready

SOURCES = ("Digit", "Image", "Trained layer")
OPERATIONS = {"convolution": "Convolution", "max": "Max pooling", "average": "Average pooling"}
MOST_IMAGE_SIDE = 64
"""Pixels of an image here, whatever its checkpoint takes: each is drawn as a square."""
OWN, FIRST_KERNEL, FIRST_DIGIT = "My own", "Vertical edges", 3
KERNEL, PRESET, PLACE = "conv-kernel", "conv-preset", "conv-place"
Found = tuple[Sums, str, bool, int]
"""The sums, what a channel is called, whether the kernel may be changed, and which channel a pooling shows."""


def sum_view() -> None:
    answer = st.container()
    linked("input", "conv-input", one_of(SOURCES, "input"), SOURCES[0])
    source = str(st.segmented_control("Input", SOURCES, required=True, key="conv-input", persist_state="session"))
    try:
        found = _trained() if source == "Trained layer" else _own(source)
    except LabError as error:
        with answer:
            show_error(error)
        write_url("at", PLACE, st.query_params.get("at"))  # until the kernel is mended
        return
    if found is None:
        return
    sums, names, editable, channel = found
    with answer:
        height, width = sums.output.shape[1:]
        window(
            "conv-window",
            sums,
            names,
            linked_place("at", PLACE, (height, width)),
            on_place=partial(give, PLACE),
            on_kernel=_type if editable else None,
            channel=channel,
        )
    once = (
        " The window fits only once: take a smaller stride or kernel for more outputs." if height * width == 1 else ""
    )
    st.caption(f"Output size: {sums.size_formula}.{once}")
    folded("Compare with PyTorch", lambda: _compare(sums), key="conv-check", param="check")
    sum_help()


def _own(source: str) -> Found | None:
    """A digit or an image, with settings that a person chooses."""
    if source == "Digit":
        settings = image = st.container(horizontal=True)
    else:
        columns = st.columns([3, 2], gap="large")
        image, settings = columns[1], columns[0].container(horizontal=True)
    with image:
        inputs, names = _inputs(source)
    if inputs is None:
        return None
    with settings:
        return _settings(inputs, names)


def _settings(inputs: np.ndarray, names: str) -> Found:
    values: dict[str, Any] = {}
    linked("operation", "conv-operation", one_of(OPERATIONS, "operation"), "convolution")
    values["operation"] = operation = st.selectbox(
        "Operation",
        OPERATIONS,
        format_func=OPERATIONS.__getitem__,
        key="conv-operation",
        persist_state="session",
        width=170,
    )
    text = _kernel() if operation == "convolution" else ""
    if operation != "convolution":
        values["size"] = _whole("size", "Window", 1, 7, 2)
    values["stride"] = _whole("stride", "Stride", 1, 8, 1 if operation == "convolution" else 2)
    values["padding"] = _whole("padding", "Padding", 0, 8, 0)
    if operation != "average":
        values["dilation"] = _whole("dilation", "Dilation", 1, 4, 1)
    if operation == "convolution":
        values["bias"] = linked_number("Bias", -1e6, 1e6, 0.0, param="bias", key="conv-bias", width=104)
    channel = 0
    if operation != "convolution" and len(inputs) > 1:
        channel = _whole("channel", "Channel", 0, len(inputs) - 1, 0, of=len(inputs))
    weights = np.repeat(parse_kernel(text)[None], len(inputs), 0) if operation == "convolution" else None
    return compute(inputs, weights, WindowSettings(**values)), names, operation == "convolution", channel


def _inputs(source: str) -> tuple[np.ndarray | None, str]:
    if source == "Digit":
        return digits()[_whole("digit", "Digit", 0, DIGITS - 1, FIRST_DIGIT)][None], "input x"
    linked_flag("colour", "conv-colour")
    colour = st.toggle(
        "Three colours", key="conv-colour", help="The kernel is the same for red, green and blue; off: grey."
    )
    reference = checkpoint_picker("Test images of", "checkpoint", param="checkpoint", prefer="simple_cnn")
    if reference is None:
        return None, ""
    data = reference.card.image_data
    image = upload_box(reference.card.dataset) or example_image()
    side = min(data.image_size, MOST_IMAGE_SIDE)
    seen = look(image.data, side, image.square, data.fit)
    if side < data.image_size:
        st.caption(f"Shrunk to {side}×{side} pixels here, so that single values can be seen.")
    return image_channels(seen.pixels, colour=colour), "channel {}" if colour else "input x"


def _kernel() -> str:
    """The text of the kernel: a preset's until somebody types another."""
    names = (*PRESETS, OWN)
    linked("preset", PRESET, one_of(names, "kernel"), FIRST_KERNEL)
    chosen = PRESETS.get(st.session_state[PRESET], PRESETS[FIRST_KERNEL])
    linked("kernel", KERNEL, short_text, chosen, write=write_short_text)
    if st.session_state[PRESET] != OWN and st.session_state[KERNEL] != chosen:
        give(PRESET, OWN)  # a link with numbers alone
    preset = str(st.selectbox("Kernel", names, key=PRESET, on_change=_preset, persist_state="session", width=170))
    st.text_input(
        "Its numbers",
        key=KERNEL,
        on_change=lambda: _type(st.session_state[KERNEL]),
        persist_state="session",
        width=260,
        help="Rows between semicolons. Numbers can be typed into the kernel itself, too.",
    )
    return str(st.session_state[KERNEL]) if preset == OWN else PRESETS[preset]


def _preset() -> None:
    if (name := st.session_state[PRESET]) in PRESETS:
        give(KERNEL, PRESETS[name])


def _type(text: str) -> None:
    give(PRESET, OWN)
    give(KERNEL, text)


def _trained() -> Found | None:
    """A convolution of a checkpoint, on what reaches it."""
    settings, image = st.columns([3, 2], gap="large")
    with image:
        asked = ask_network()
    if asked is None:
        return None
    with settings:
        return _layer(asked)


def _layer(asked: NetworkQuery) -> Found:
    from core.attribution.networks import convolutions
    from core.convolution.layers import convolution_sums

    names = convolutions(asked.checkpoint.model)
    linked("layer", "conv-layer", one_of(names, "layer"), names[0], of=asked.key, options=names)
    with st.container(horizontal=True):
        layer = st.selectbox("Convolution", names, key="conv-layer", persist_state="session", width=250)
        outputs = asked.checkpoint.model.get_submodule(layer).out_channels
        channel = _whole("channel", "Output channel", 0, int(outputs) - 1, 0, of=(asked.key, layer))
    sums = convolution_sums(asked.checkpoint, layer, channel, asked.pixels)
    st.caption(
        f"{escape_markdown(layer)}: {len(sums.inputs)} input channels, bias {sums.settings.bias:.4g}. The input is what "
        "reaches this layer, of the first one the normalised image."
    )
    return sums, "channel {}", False, 0


def _compare(sums: Sums) -> None:
    until_ready()
    import torch

    from core.convolution.layers import pytorch_output

    name = {"convolution": "F.conv2d", "max": "F.max_pool2d", "average": "F.avg_pool2d"}[sums.settings.operation]
    exact, single = (
        float(np.abs(pytorch_output(sums, kind) - sums.output).max()) for kind in (torch.float64, torch.float32)
    )
    st.markdown(
        f"Largest difference to `{name}` over all outputs: **{exact:.2g}** in float64, {single:.2g} in float32."
    )


def _whole(param: str, label: str, low: int, high: int, default: int, of: Any = None) -> int:
    key, width = f"conv-{param}-{default}", 104 if label != "Output channel" else 160
    return int(linked_number(label, low, high, default, param=param, key=key, of=of, step=1, width=width))
