"""Images of units as the views show them."""

from __future__ import annotations

import base64

import numpy as np
import streamlit as st

from core.common.pixels import enlarge, preview
from core.data.dataset import Split
from core.features.results import montage
from pages.shared.elements import show_image

SIDE_PX = 134
"""Four fit beside the controls, two on a phone."""


def image_bytes(text: str) -> bytes:
    """Of an image in a result, which has it in base64."""
    return base64.b64decode(text)


def show_rgb(rgb: np.ndarray, *, alt: str, width: int = SIDE_PX) -> None:
    """(H, W, 3) uint8, a small one as the pixels it is."""
    show_image(image_file(rgb, width), width=width, alt=alt)


def image_file(rgb: np.ndarray, width: int) -> bytes:
    """What a browser gets of an image (H, W, 3) uint8 that it shows so wide."""
    return enlarge(rgb, 2 * width) if max(rgb.shape[:2]) <= 2 * width else preview(rgb, 2 * width)


def show_real(split: Split, places: tuple[int, ...], classes: tuple[str, ...], what: str) -> None:
    """Real images as a square of small ones. A place that the split does not have, from a result of other images, is left out."""
    places = tuple(place for place in places if place < len(split))
    if not places:
        st.caption("These test images are not in this dataset.")
        return
    labels = ", ".join(classes[int(split.labels[place])] for place in places)
    sheet = montage([split.images[place] for place in places])
    show_rgb(sheet, alt=f"{what}: {labels}")


def column() -> st.delta_generator.DeltaGenerator:
    """A box as wide as an image."""
    return st.container(width=SIDE_PX + 4, gap="xsmall")
