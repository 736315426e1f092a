"""An image that a person gave, decoded and shrunk to what a model gets, and a checkpoint's answer to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint
from core.common.pixels import enlarge, preview, shrink
from core.data.decode import central_square, decode_image, fit_to_model
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
    width: int
    height: int
    format: str
    notes: tuple[str, ...]


@st.cache_data(max_entries=32, show_spinner=False)
def look(data: bytes, size: int) -> DecodedUpload:
    """Decode and shrink. Raises LabError for what cannot be shown right."""
    decoded = decode_image(data)
    height, width = decoded.rgb.shape[:2]
    pixels = fit_to_model(decoded.rgb, size)
    return DecodedUpload(
        pixels=pixels,
        preview=preview(decoded.rgb, 2 * SHOWN_PX),
        enlarged=enlarge(pixels, SHOWN_PX),
        square=shrink(central_square(decoded.rgb), 2 * SHOWN_PX),
        width=width,
        height=height,
        format=decoded.format,
        notes=decoded.notes,
    )


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
