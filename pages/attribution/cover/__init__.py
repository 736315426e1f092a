"""An image as the squares that it is made of, to be covered by hand: by mouse, finger or keyboard.

The browser holds the mask while somebody draws and sends it a few times a second. The page holds it otherwise: where it
sets another one it gives that a new revision, and what the browser still sends of an older one is not taken.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np

from pages.shared.elements import component, sent

BRUSHES = (1, 2, 4, 8)
"""Sides of the square that covers, pixels of an image 32 wide; in proportion for others."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawn:
    """What the browser sent last."""

    revision: str
    """Of the mask that it began from."""
    stroke: int
    """Number of the stroke: the same one comes several times while it grows."""
    mask: np.ndarray
    """(H, W) bool: true where covered."""


def cover(
    key: str, *, pixels: np.ndarray, base: np.ndarray, mask: np.ndarray, revision: str, stroke: int, label: str
) -> None:
    """Show the image. pixels, base: (H, W, 3) uint8, H = W, as it is and what stands in for it where mask (H, W) is set.

    stroke: number of the last one taken. label: what the image is, for screen readers.
    """
    side = pixels.shape[0]
    data: dict[str, Any] = {
        "side": side,
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
        "base": base64.b64encode(base.tobytes()).decode(),
        "mask": pack(mask),
        "revision": revision,
        "stroke": stroke,
        "brushes": [max(1, brush * side // 32) for brush in BRUSHES],
        "label": label,
    }
    component(__file__)(key=key, data=data, on_drawn_change=lambda: None)


def drawn(key: str, side: int) -> Drawn | None:
    """What was drawn last; None where nothing was, or what came is no mask of an image side x side."""
    found = sent(key, "drawn")
    if not isinstance(found, dict):
        return None
    revision, stroke, mask = found.get("revision"), found.get("stroke"), unpack(found.get("mask"), side)
    if not isinstance(revision, str) or not isinstance(stroke, int) or isinstance(stroke, bool) or mask is None:
        return None
    return Drawn(revision=revision, stroke=stroke, mask=mask)


def pack(mask: np.ndarray) -> str:
    """A bit a pixel, row by row, the first one highest in its byte; in base64."""
    return base64.b64encode(np.packbits(mask).tobytes()).decode()


def unpack(text: object, side: int) -> np.ndarray | None:
    """(side, side) bool; None for anything that `pack` would not have made of such a mask."""
    count = -(-side * side // 8)
    if not isinstance(text, str) or len(text) != 4 * -(-count // 3):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return None
    if len(data) != count:
        return None
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=side * side)
    return bits.astype(bool).reshape(side, side)
