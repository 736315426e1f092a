"""An image that a person gave, decoded and shrunk to what a model gets, and a checkpoint's answer to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint
from core.common.pixels import enlarge, preview, shrink
from core.data.decode import DecodedImage, crop_square, decode_image, fit_to_model
from core.data.square import Square
from pages.shared.text import escape_markdown

if TYPE_CHECKING:
    from core.inference.images import Prediction
    from pages.shared.upload_box import InputImage

SHOWN_PX = 224
"""Side of both images on the page: a multiple of 32, so that each pixel of the model's becomes 7x7 of the screen's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedUpload:
    """An upload after decoding. pixels: (size, size, 3) uint8, what the model gets."""

    pixels: np.ndarray
    preview: bytes
    enlarged: bytes
    square: np.ndarray
    """(S, S, 3) uint8, at most 448 wide: what of the photo the model sees, before it is shrunk."""
    square_px: int
    """Side of that square in the photo."""
    width: int
    height: int
    format: str
    notes: tuple[str, ...]


@st.cache_data(max_entries=32, show_spinner=False)
def look(data: bytes, size: int, square: Square | None = None) -> DecodedUpload:
    """Decode, cut and shrink. square: by default the central one. Raises LabError for what cannot be shown right."""
    decoded, whole = _decode(data)
    height, width = decoded.rgb.shape[:2]
    pixels, seen = fit_to_model(decoded.rgb, size, square), crop_square(decoded.rgb, square)
    return DecodedUpload(
        pixels=pixels,
        preview=whole,
        enlarged=enlarge(pixels, SHOWN_PX),
        square=shrink(seen, 2 * SHOWN_PX),
        square_px=seen.shape[0],
        width=width,
        height=height,
        format=decoded.format,
        notes=decoded.notes,
    )


@st.cache_resource(max_entries=8, show_spinner=False)
def _decode(data: bytes) -> tuple[DecodedImage, bytes]:
    """An image and its preview: once, however often another square of it is looked at."""
    decoded = decode_image(data)
    return decoded, preview(decoded.rgb, 2 * SHOWN_PX)


@st.cache_data(max_entries=128, show_spinner=False)
def predict(fingerprint: str, pixels: np.ndarray, *, _checkpoint: Checkpoint) -> Prediction:
    """The answer of this checkpoint to these pixels; the same question is answered once."""
    from core.inference.images import classify

    return classify(_checkpoint, pixels[None].copy())[0]


def true_class(image: InputImage, answer: str, classes: Sequence[str]) -> None:
    """Whether the answer to an image is right, where its class is known. classes: those of the checkpoint."""
    if not image.label:
        return
    icon = ":material/check: right" if image.label == answer else ":material/close: wrong"
    verdict = icon if image.label in classes else "This checkpoint does not know its class"
    st.markdown(f"{verdict}, the test set says {escape_markdown(image.label)}")
