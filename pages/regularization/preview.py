"""A few images as the network would be shown them, before anything is trained."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.common.errors import LabError
from core.common.pixels import enlarge
from core.data import dataset_status
from core.data.dataset import ImageCard
from core.regularization.arms import Arm, Variant
from core.regularization.study import StudyConfig
from core.regularization.techniques import AUGMENTATIONS, TECHNIQUES
from pages.shared.elements import show_image
from pages.shared.examples import examples
from pages.shared.resources import dataset
from pages.shared.text import escape_markdown, show_error
from pages.shared.warmup import until_ready

IMAGES = 8
SIDE_PX = 96
DRAWN = {"airplane": "airplane", "ship": "ship", "car": "automobile", "bird": "bird"}
"""Example images that are of a CIFAR-10 class -> that class."""
DRAWN_CARD = ImageCard(
    name="cifar10",
    title="CIFAR-10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    sizes={},
)


def preview(config: StudyConfig | None) -> None:
    """A row of images for each arm that changes them, or why there is none. config: None while there is none that is valid."""
    if config is None:
        return
    st.markdown("#### What the network will see")
    arms = [arm for arm in config.parsed() if set(arm.names) & set(AUGMENTATIONS)]
    if not arms:
        titles = ", ".join(TECHNIQUES[name].title for name in AUGMENTATIONS)
        st.caption(f"No chosen technique changes the images. These do, and would be shown here: {titles}.")
        return
    until_ready()
    st.fragment(_rows)(config, arms)


def _rows(config: StudyConfig, arms: list[Arm]) -> None:
    from core.training.preview import augmented_pixels

    try:
        images, labels, card = _images(config)
    except LabError as error:
        show_error(error)
        return
    draw = st.session_state.get("study-draw", 0)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            "A few training images, as those arms that change them would show them in one epoch, at their strongest.",
            width="content",
        )
        st.button("Draw again", key="study-draw-again", icon=":material/casino:", on_click=_draw_again)
    for variant in [Variant(techniques=()), *(arm.variants[-1] for arm in arms)]:
        if not variant.techniques:
            shown, mixed = images, labels
        else:
            shown, mixed = augmented_pixels(images, labels, card, variant.apply(config.base()), draw)
        st.markdown("**As they are**" if not variant.techniques else f"**{escape_markdown(variant.label)}**")
        with st.container(horizontal=True, gap="xsmall"):
            for pixels, target in zip(shown, mixed, strict=True):
                words = shares_in_words(target, card.classes)
                with st.container(width=SIDE_PX, gap="xxsmall"):
                    show_image(enlarge(pixels, SIDE_PX), width=SIDE_PX, alt=f"{variant.label}: {words}")
                    if mixed.ndim == 2:
                        st.caption(escape_markdown(words))


def shares_in_words(target: np.ndarray, classes: tuple[str, ...]) -> str:
    """`cat`, or `70% cat, 30% ship`. target: a label, or (classes,) shares."""
    if target.ndim == 0:
        return classes[int(target)]
    order = np.argsort(-target)[:2]
    parts = [f"{100 * target[index]:.0f}% {classes[index]}" for index in order if target[index] >= 0.005]
    return parts[0].partition(" ")[2] if len(parts) == 1 else ", ".join(parts)


def _images(config: StudyConfig) -> tuple[np.ndarray, np.ndarray, ImageCard]:
    """(N, 32, 32, 3) uint8, (N,) labels and their card: of the dataset where it is here, else drawn ones."""
    if dataset_status(config.dataset).ready:
        found = dataset(config.dataset)
        step = max(1, len(found.card.classes) // IMAGES)
        wanted = [np.flatnonzero(found.train.labels == label)[:2] for label in range(0, len(found.card.classes), step)]
        order = [places[rank] for rank in (0, 1) for places in wanted if len(places) > rank][:IMAGES]
        return found.train.images[order], found.train.labels[order], found.card
    return *_drawn(), DRAWN_CARD


def _drawn() -> tuple[np.ndarray, np.ndarray]:
    import io

    from PIL import Image

    side = DRAWN_CARD.image_size
    images = [np.asarray(Image.open(io.BytesIO(examples()[title])).resize((side, side))) for title in DRAWN]
    labels = [DRAWN_CARD.classes.index(label) for label in DRAWN.values()]
    return np.stack(images), np.array(labels, dtype=np.int64)


def _draw_again() -> None:
    st.session_state["study-draw"] = st.session_state.get("study-draw", 0) + 1
