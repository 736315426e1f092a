"""An image as a vision Transformer sees it, and where each of its tokens looks, by head and through all layers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pages.shared.elements import component, sent

if TYPE_CHECKING:
    from core.attention.image import ImageHeads


def tokens(
    key: str,
    found: ImageHeads,
    pixels: np.ndarray,
    answer: str,
    token: int,
    *,
    dark: bool,
    on_token: Callable[[int], None],
) -> None:
    """pixels: (H, W, 3) uint8. answer: said above it. token: the one that is chosen. on_token: told which one somebody chose."""
    count = found.side**2
    rows = np.concatenate([*found.weights, found.rollout[None]]).reshape(-1, count)
    fixed = np.stack([found.answer, found.pooling])
    every = np.concatenate([rows, fixed])  # each row on its own scale: many of them are nearly even
    most = np.maximum(every.max(1, keepdims=True), 1e-9)
    data: dict[str, Any] = {
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
        "pixelSide": pixels.shape[0],
        "side": found.side,
        "heads": found.heads,
        "weights": base64.b64encode((255 * every / most).round().astype(np.uint8).tobytes()).decode(),
        "most": most[:, 0].tolist(),
        "answer": answer,
        "at": token,
        "dark": dark,
    }

    def clicked() -> None:
        place = sent(key, "at")
        if isinstance(place, int | float) and 0 <= place < count:
            on_token(int(place))

    component(__file__, "room.js")(key=key, data=data, on_at_change=clicked)
