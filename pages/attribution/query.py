"""What is asked on the Attribution page: which checkpoint, which image, why which class, against which baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.attribution.baselines import BASELINES, DEFAULT_BASELINE
from core.attribution.networks import float_twin_note
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.images.figures import percent
from pages.attribution.settings import settings_link
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.image_view import DecodedUpload, look
from pages.shared.resources import explainer_of
from pages.shared.square import show_input_image
from pages.shared.text import escape_markdown, show_error
from pages.shared.upload_box import InputImage, upload_box
from pages.shared.url import linked
from pages.shared.url_values import one_of
from pages.shared.warmup import until_ready

TARGET, BASELINE = "why-class", "why-baseline"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AttributionQuery:
    """A question that can be answered."""

    reference: CheckpointRef
    image: InputImage
    seen: DecodedUpload
    probabilities: tuple[float, ...]
    """Of each class, calibrated, of one view."""
    target: int
    """Index of the class to explain."""
    baseline: str

    @property
    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8: what the network sees."""
        return self.seen.pixels

    @property
    def classes(self) -> tuple[str, ...]:
        return self.reference.card.image_data.classes

    @property
    def label(self) -> str:
        """The class to explain."""
        return self.classes[self.target]

    @property
    def predicted(self) -> int:
        return int(np.argmax(self.probabilities))


def ask_checkpoint() -> CheckpointRef | None:
    """The first control alone. None (with a sentence on the page) where there is no checkpoint."""
    return checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint")


def ask(*, reference: CheckpointRef | None = None, target: bool = True) -> AttributionQuery | None:
    """Draw the controls and return the question; None (with a sentence on the page where something is wrong) until there is
    a checkpoint and an image.

    reference: the checkpoint, where its control is drawn already. target: whether the class is asked for here; else it is
    the one that the network predicts.
    """
    reference = reference or ask_checkpoint()
    if reference is None:
        return None
    settings_link()
    image = upload_box(reference.card.dataset)
    if image is None:
        return None
    until_ready(everything=True)
    try:
        seen = look(image.data, reference.card.image_data.image_size, image.square)
        probabilities = probabilities_of(reference.card.fingerprint, seen.pixels, _reference=reference)
    except LabError as error:
        show_error(f"{image.title}: {error}" if image.title else error)
        return None
    if image.token:
        show_input_image(image, seen)
    chosen = _class(reference, image, probabilities) if target else int(np.argmax(probabilities))
    baseline = _baseline()
    if twin := float_twin_note(reference.card):
        st.caption(escape_markdown(twin))
    return AttributionQuery(
        reference=reference,
        image=image,
        seen=seen,
        probabilities=probabilities,
        target=chosen,
        baseline=baseline,
    )


def _class(reference: CheckpointRef, image: InputImage, probabilities: tuple[float, ...]) -> int:
    """Another image, or square of it, starts with what the network says of it."""
    classes = reference.card.image_data.classes
    question = (hash(image.data), image.square, classes)
    order = [int(place) for place in np.argsort(probabilities)[::-1]]

    def place_of(label: str) -> int:
        if label not in classes:
            raise LabError(f"This checkpoint knows no class {label[:60]}: what it says itself is explained instead.")
        return classes.index(label)

    linked("target", TARGET, place_of, order[0], write=lambda place: classes[place], of=question)
    chosen = st.selectbox(
        "Explain the class",
        order,
        format_func=lambda place: f"{classes[place]} · {percent(probabilities[place])}",
        key=TARGET,
        persist_state="session",
        help="Any class can be asked about: why this one, and why not that one?",
    )
    return int(chosen)


def _baseline() -> str:
    names = list(BASELINES)
    linked("baseline", BASELINE, one_of(names, "baseline"), DEFAULT_BASELINE)
    chosen = st.selectbox(
        "Baseline",
        names,
        format_func=lambda name: (
            f"{name.capitalize()}: {BASELINES[name]}" if BASELINES[name] != name else name.capitalize()
        ),
        key=BASELINE,
        persist_state="session",
        help="Methods start from this image, or cover pixels with it. Scores keep their own baseline, so that they stay "
        "comparable.",
    )
    return str(chosen)


@st.cache_data(max_entries=128, show_spinner=False)
def probabilities_of(fingerprint: str, pixels: np.ndarray, *, _reference: CheckpointRef) -> tuple[float, ...]:
    """Of each class, calibrated, of one view."""
    explainer = explainer_of(_reference)
    return tuple(explainer.probabilities(explainer.inputs(pixels))[0].tolist())
