"""The maps of one layer, a unit of one of them, and what that unit sees of the image."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from pages.convolution.window import pack
from pages.shared.elements import component

if TYPE_CHECKING:
    from core.convolution.layers import LayerInfo


def maps(
    key: str, layer: LayerInfo, values: np.ndarray, pixels: np.ndarray, channel: int, on_channel: Callable[[int], None]
) -> None:
    """values: (C, h, w) float32 of the layer; pixels: (H, W, 3) uint8. on_channel: told which map somebody clicked."""
    side = pixels.shape[0]
    _, height, width = layer.shape
    data: dict[str, Any] = {
        "layer": layer.name,
        "shape": list(layer.shape),
        "maps": pack(values),
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
        "side": side,
        "rows": [layer.span.pixels(unit, side) for unit in range(height)],
        "columns": [layer.span.pixels(unit, side) for unit in range(width)],
        "channel": channel,
    }

    def clicked() -> None:
        found = st.session_state.get(key)
        number = found.get("channel") if found is not None else None
        if isinstance(number, int | float) and 0 <= number < len(values):
            on_channel(int(number))

    component(__file__, "canvas.js")(key=key, data=data, on_channel_change=clicked)
