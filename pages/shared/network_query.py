"""What every view of a network asks: which checkpoint, which image. It opens on a drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.attribution.networks import float_twin_note
from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.data import dataset_status
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.examples import examples
from pages.shared.image_view import look
from pages.shared.resources import loaded
from pages.shared.square import show_input_image
from pages.shared.text import escape_markdown, show_error
from pages.shared.upload_box import InputImage, upload_box
from pages.shared.warmup import until_ready

FIRST, FIRST_IMAGE = "simple_cnn", "bird"
"""A network small enough to follow by eye, and a drawing of whose class it is not sure at every place."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NetworkQuery:
    """A checkpoint and an image as it gets it."""

    reference: CheckpointRef
    checkpoint: Checkpoint
    image: InputImage
    pixels: np.ndarray
    """(H, W, 3) uint8."""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.reference.card.image_data.classes

    @property
    def temperature(self) -> float:
        return self.reference.card.calibration.temperature

    @property
    def key(self) -> str:
        """Of the checkpoint, for what is kept."""
        return self.reference.card.fingerprint


def ask_network() -> NetworkQuery | None:
    """Draw the controls; None, with a sentence on the page, where there is no checkpoint or the image cannot be read."""
    reference = ask_checkpoint()
    return None if reference is None else ask_image(reference, "layers")


def ask_checkpoint() -> CheckpointRef | None:
    """The first control alone; None, with a sentence on the page, where there is no checkpoint."""
    return checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint", prefer=FIRST)


def ask_image(reference: CheckpointRef, what: str, *, examples_too: bool = False) -> NetworkQuery | None:
    """The control of the image; None, with a sentence on the page, where it cannot be read.

    what: is computed with gradients or layers, of an int8 checkpoint with those of its float twin; empty where nothing is.
    examples_too: whether a drawing is shown beside what the model sees, as an upload is.
    """
    image = upload_box(reference.card.dataset) or example_image()
    until_ready()
    data = reference.card.image_data
    try:
        seen = look(image.data, data.image_size, image.square, data.fit)
        checkpoint = loaded(reference)
        if what:
            checkpoint.check_layers()
    except LabError as error:
        show_error(error)
        return None
    if image.token or examples_too:
        show_input_image(image, seen)
    if what and (twin := float_twin_note(reference.card, what)):
        st.caption(escape_markdown(twin))
    return NetworkQuery(reference=reference, checkpoint=checkpoint, image=image, pixels=seen.pixels)


def example_image() -> InputImage:
    """What stands where nobody gave an image."""
    title = f"drawn example, {FIRST_IMAGE}"
    return InputImage(data=examples()[FIRST_IMAGE], title=title, example=FIRST_IMAGE)


def has_dataset(asked: NetworkQuery) -> bool:
    """Whether the images of the checkpoint are on this machine; where not, the page says so."""
    data = asked.reference.card.dataset
    try:
        if dataset_status(data.name).ready:
            return True
    except LabError:
        pass
    st.caption(f"{escape_markdown(data.title)} is not on this machine: fetch it under Datasets.")
    return False
