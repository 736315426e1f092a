"""Small pictures shown as the pixels they are."""

from __future__ import annotations

import io

import numpy as np


def enlarge(rgb: np.ndarray, side: int = 224) -> bytes:
    """PNG of `rgb` with every pixel a hard square. rgb: (H, W, 3) uint8; side: least longer side of the result, pixels."""
    from PIL import Image

    factor = max(1, -(-side // max(rgb.shape[:2])))
    blocks = np.repeat(np.repeat(rgb, factor, axis=0), factor, axis=1)
    return encode(Image.fromarray(np.ascontiguousarray(blocks)), "PNG")


def preview(rgb: np.ndarray, side: int = 640) -> bytes:
    """A picture no larger than `side` pixels on its longer side, as JPEG (small ones as PNG, without loss)."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(rgb))
    if max(picture.size) <= 64:
        return enlarge(rgb)
    picture.thumbnail((side, side))
    return encode(picture, "JPEG")


def encode(picture: object, kind: str) -> bytes:
    """Bytes of a Pillow picture. kind: `PNG` or `JPEG`."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {"compress_level": 1}))  # type: ignore[attr-defined]
    return buffer.getvalue()
