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
    """Bytes of a Pillow image. kind: `PNG`, `JPEG` or `WEBP`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"compress_level": 1} if kind == "PNG" else {"quality": 90}))  # type: ignore[attr-defined]
    return buffer.getvalue()


def to_png(rgb: np.ndarray) -> str:
    """(H, W, 3) uint8 as PNG in base64."""
    from PIL import Image

    return base64.b64encode(encode(Image.fromarray(np.ascontiguousarray(rgb)), "PNG")).decode()


def from_png(text: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def data_url(image: bytes | str) -> str:
    """A PNG, a JPEG, or an SVG as text, inside an address."""
    data = image if isinstance(image, bytes) else image.encode()
    if data.startswith(b"\x89PNG"):
        kind = "image/png"
    else:
        kind = "image/svg+xml" if data.startswith(b"<svg") else "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
