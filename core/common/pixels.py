"""Small images shown as the pixels they are."""

from __future__ import annotations

import base64
import io

import numpy as np


def enlarge(rgb: np.ndarray, side: int = 224) -> bytes:
    """PNG of `rgb` with every pixel a hard square. rgb: (H, W, 3) uint8; side: least longer side of the result, pixels."""
    from PIL import Image

    factor = max(1, -(-side // max(rgb.shape[:2])))
    blocks = np.repeat(np.repeat(rgb, factor, axis=0), factor, axis=1)
    return encode(Image.fromarray(np.ascontiguousarray(blocks)), "PNG")


def shrink(rgb: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 3) uint8 no larger than `side` pixels on its longer side."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(rgb))
    image.thumbnail((side, side))
    return np.asarray(image)


def preview(rgb: np.ndarray, side: int = 640) -> bytes:
    """An image no larger than `side` pixels on its longer side, as JPEG (small ones as PNG, without loss)."""
    from PIL import Image

    if max(rgb.shape[:2]) <= 64:
        return enlarge(rgb)
    return encode(Image.fromarray(shrink(rgb, side)), "JPEG")


def encode(image: object, kind: str) -> bytes:
    """Bytes of a Pillow image. kind: `PNG` or `JPEG`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {"compress_level": 1}))  # type: ignore[attr-defined]
    return buffer.getvalue()


def data_url(image: bytes | str) -> str:
    """A PNG, a JPEG, or an SVG as text, inside an address."""
    data = image if isinstance(image, bytes) else image.encode()
    if data.startswith(b"\x89PNG"):
        kind = "image/png"
    else:
        kind = "image/svg+xml" if data.startswith(b"<svg") else "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
