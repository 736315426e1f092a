"""One output of a convolution or a pooling, its window and its terms, for whoever points at it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from core.common.errors import LabError
from core.convolution.arithmetic import Sums
from pages.shared.elements import component, sent
from pages.shared.url import linked

Place = tuple[int, int]
"""Row and column, from 0 on."""
SHOWN = 3
"""Channels whose terms are drawn: those with the largest sums, where there are more."""


def window(
    key: str,
    sums: Sums,
    names: str,
    at: Place,
    *,
    on_place: Callable[[Place], None],
    on_kernel: Callable[[str], None] | None,
    channel: int = 0,
) -> None:
    """names: what an input channel is called, with `{}` for its number. at: row and column of the output that is taken apart.
    on_place: told which one somebody chose. on_kernel: told the kernel that somebody typed; None where it cannot be changed.
    channel: of a pooling."""
    made = sums.settings
    pools = made.operation != "convolution"
    shown = [channel]
    if not pools:
        shown = sorted(np.abs(sums.parts).sum((1, 2)).argsort(kind="stable")[::-1][:SHOWN].tolist())
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
        "termLimit": float(sums.largest_terms[shown].max()),
        "sums": pack(sums.parts[shown]),
        "rest": pack(sums.parts.sum(0) - sums.parts[shown].sum(0)),
        "output": pack(output),
        "at": at,
    }

    def typed() -> None:
        text = sent(key, "kernel")
        if on_kernel is not None and isinstance(text, str):
            on_kernel(text)

    component(__file__, "canvas.js")(
        key=key, data=data, on_kernel_change=typed, on_at_change=lambda: take_place(key, on_place)
    )


def take_place(key: str, on_place: Callable[[Place], None]) -> None:
    found = sent(key, "at")
    if isinstance(found, list) and len(found) == 2 and all(isinstance(part, int | float) for part in found):
        on_place((int(found[0]), int(found[1])))


def linked_place(param: str, key: str, size: Place, of: Any = None) -> Place:
    """Row and column of one of rows × columns values, in the address; the middle one where nobody chose another.

    of: what the place belongs to, besides the size.
    """
    middle = size[0] // 2, size[1] // 2

    def parse(text: str) -> Place:
        row, _, column = text[:20].partition(",")
        if not (row.isdecimal() and column.isdecimal() and int(row) < size[0] and int(column) < size[1]):
            raise LabError(
                f"The link names the place {text[:20]!r}, but there are {size[0]} rows and {size[1]} columns, from 0 on: the "
                "middle is used."
            )
        return int(row), int(column)

    linked(param, key, parse, middle, write=lambda place: ",".join(map(str, place)), of=(size, of))
    row, column = st.session_state[key]
    return min(row, size[0] - 1), min(column, size[1] - 1)


def pack(values: np.ndarray) -> str:
    """float32, little endian, in base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()
