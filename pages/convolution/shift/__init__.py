"""An image that is dragged by whole pixels, and the answers of each variant of a network at every shift."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pages.convolution.window import pack
from pages.shared.elements import component

if TYPE_CHECKING:
    from core.convolution.shift import Shifts


def shift_board(key: str, pixels: np.ndarray, found: Mapping[str, Shifts], classes: tuple[str, ...]) -> None:
    """pixels: (H, W, 3) uint8. found: title of a variant -> its answers."""
    reach = next(iter(found.values())).reach
    rows: list[dict[str, Any]] = []
    for title, shifts in found.items():
        place = int(shifts.answers[reach, reach])
        rows.append(
            {
                "title": title,
                "label": classes[place],
                "probabilities": pack(shifts.probabilities[..., place]),
                "answers": shifts.answers.ravel().tolist(),
                "same": shifts.same,
            }
        )
    data: dict[str, Any] = {
        "side": pixels.shape[0],
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
        "reach": reach,
        "classes": list(classes),
        "rows": rows,
    }
    component(__file__, "canvas.js")(key=key, data=data)
