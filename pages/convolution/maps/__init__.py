"""The maps of one layer, a unit of one of them, and what that unit sees of the image."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pages.convolution.window import Place, pack, take_place
from pages.shared.elements import component, sent

if TYPE_CHECKING:
    from core.convolution.layers import LayerInfo


def maps(
    key: str,
    layer: LayerInfo,
    values: np.ndarray,
    pixels: np.ndarray,
    channel: int,
    unit: Place,
    *,
    on_channel: Callable[[int], None],
    on_unit: Callable[[Place], None],
) -> None:
    """values: (C, h, w) float32 of the layer; pixels: (H, W, 3) uint8. on_channel, on_unit: told which one somebody chose."""
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
        "at": unit,
    }

    def clicked() -> None:
        number = sent(key, "channel")
        if isinstance(number, int | float) and 0 <= number < len(values):
            on_channel(int(number))

    component(__file__, "canvas.js")(
        key=key, data=data, on_channel_change=clicked, on_at_change=lambda: take_place(key, on_unit)
    )
