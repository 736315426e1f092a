"""One output of a convolution or a pooling, its window and its terms, for whoever points at it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from core.convolution.arithmetic import Sums
from pages.shared.elements import component

SHOWN = 3
"""Channels whose terms are drawn: those with the largest sums, where there are more."""


def window(key: str, sums: Sums, names: str, *, on_kernel: Callable[[str], None] | None, channel: int = 0) -> None:
    """names: what an input channel is called, with `{}` for its number. on_kernel: told the kernel that somebody typed; None
    where it cannot be changed. channel: of a pooling."""
    made = sums.settings
    pools = made.operation != "convolution"
    by_channel = sums.terms.sum((3, 4)) if not pools else np.zeros(0)
    if pools:
        shown = [channel]
    else:
        strongest = np.abs(by_channel).sum((1, 2)).argsort(kind="stable")[::-1][:SHOWN]
        shown = sorted(int(place) for place in strongest)
    rest = by_channel.sum(0) - by_channel[shown].sum(0) if not pools else np.zeros(0)
    output = sums.output[channel if pools else 0]
    data: dict[str, Any] = {
        "channels": [names.format(place) for place in shown],
        "others": 0 if pools else len(sums.inputs) - len(shown),
        "height": sums.inputs.shape[1],
        "width": sums.inputs.shape[2],
        "outHeight": output.shape[0],
        "outWidth": output.shape[1],
        "k": sums.kernel.shape[-1],
        "stride": made.stride,
        "padding": made.padding,
        "dilation": made.dilation,
        "operation": made.operation,
        "bias": made.bias,
        "editable": on_kernel is not None,
        "inputs": pack(sums.inputs[shown]),
        "kernel": pack(sums.kernel[shown]),
        "termLimit": float(np.abs(sums.terms[shown]).max()) if made.operation != "max" else 0.0,
        "sums": pack(by_channel[shown] if not pools else by_channel),
        "rest": pack(rest),
        "output": pack(output),
        "row": output.shape[0] // 2,
        "column": output.shape[1] // 2,
    }

    def typed() -> None:
        found = st.session_state.get(key)
        text = found.get("kernel") if found is not None else None
        if on_kernel is not None and isinstance(text, str):
            on_kernel(text)

    component(__file__, "canvas.js")(key=key, data=data, on_kernel_change=typed)


def pack(values: np.ndarray) -> str:
    """float32, little endian, in base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()
