"""Augmentation / Pipeline: an image as the trainer would show it to the network, and the code that does it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.augmentation.config import STRENGTHS
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.pixels import enlarge
from core.data.dataset import ImageCard
from core.training.augmentation import TRANSFORMS, Pipeline, Step
from core.training.config import AUGMENTATION, TrainConfig
from core.training.recipes import RECIPES
from pages.augmentation.builder import TEXT, pipeline_form
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import download, folded, show_image
from pages.shared.image_view import look
from pages.shared.network_query import ask_checkpoint, example_image
from pages.shared.number_field import linked_number
from pages.shared.registry import page_link
from pages.shared.resources import dataset
from pages.shared.square import show_input_image
from pages.shared.text import escape_markdown, show_error
from pages.shared.train_form import SNAPSHOTS, form_query
from pages.shared.upload_box import upload_box
from pages.shared.url import give, linked
from pages.shared.url_values import one_of
from pages.shared.warmup import until_ready

SEED, SHOW, CLASS = "augment-seed", "augment-show", "augment-class"
OWN, OF_CLASS, GRID = "Your image", "A class", "All transforms"
MOST_SEED = 2**31 - 2
DRAWS, SIDE_PX, GRID_PX = 7, 112, 64


def pipeline_view() -> None:
    answer, controls = st.columns([3, 2], gap="large")
    with controls:
        pipeline = pipeline_form()
        st.markdown("**Image and network**")
        reference = ask_checkpoint()
        if reference is None:
            return
        linked("show", SHOW, one_of((OWN, OF_CLASS, GRID), "kind of image"), OWN)
        shown = st.segmented_control("Show", (OWN, OF_CLASS, GRID), key=SHOW, required=True, persist_state="session")
        image = upload_box(reference.card.dataset) if shown != OF_CLASS else None
        seed = int(linked_number("Random seed", 0, MOST_SEED, 0, param="seed", key=SEED, step=1))
    with answer:
        if pipeline is None:
            st.info("Add a step to see what it does.")
            return
        words = "Each transform, weak to strong" if shown == GRID else escape_markdown(pipeline.words)
        st.markdown(f"## {words}")
        st.button("Draw again", key="augment-again", icon=":material/casino:", on_click=_draw_again, args=(seed,))
        until_ready()
        try:
            if shown == OF_CLASS:
                _class(reference, pipeline, seed)
            else:
                given = image or example_image()
                data = reference.card.image_data
                seen = look(given.data, data.image_size, given.square, data.fit)
                if given.token:
                    show_input_image(given, seen)
                if shown == OWN:
                    _own(seen.pixels, data, pipeline, seed)
                else:
                    _grid(seen.pixels, data, seed)
        except LabError as error:
            show_error(error)
        _onwards(reference, pipeline)


def _draw_again(seed: int) -> None:
    give(SEED, (seed + 1) % MOST_SEED)


def draws(images: np.ndarray, card: ImageCard, augmentation: str, seed: int) -> np.ndarray:
    """(N, H, W, 3) uint8 as the trainer feeds them in its first epoch. Raises LabError where nothing is left of them."""
    from core.augmentation.effect import check_content
    from core.training.preview import augmented_pixels

    labels = np.zeros(len(images), np.int64)
    found, _ = augmented_pixels(images, labels, card, TrainConfig(augmentation=augmentation, seed=seed))
    if np.ptp(images) > 0:  # of one colour before
        check_content(found)
    return found


def _row(images: np.ndarray, alts: list[str], width: int) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        for pixels, alt in zip(images, alts, strict=True):
            show_image(enlarge(pixels, 2 * width), width=width, alt=alt)


def _own(pixels: np.ndarray, card: ImageCard, pipeline: Pipeline, seed: int) -> None:
    found = draws(np.repeat(pixels[None], DRAWS, axis=0), card, pipeline.spec, seed)
    _row(np.concatenate([pixels[None], found]), ["As it is", *(f"Draw {place + 1}" for place in range(DRAWS))], SIDE_PX)
    st.caption(
        f"The first is the image as it is, then come {DRAWS} draws at {card.image_size}×{card.image_size} pixels. The trainer "
        "draws anew in each epoch."
    )


def _class(reference: CheckpointRef, pipeline: Pipeline, seed: int) -> None:
    card = reference.card.image_data
    if not dataset_or_offer(card.name, "show images of a class", "augment"):
        return
    linked("class", CLASS, one_of(card.classes, "class"), card.classes[0], of=card.name, options=card.classes)
    label = st.selectbox("Class", card.classes, key=CLASS, persist_state="session")
    train = dataset(card.name).train
    places = np.flatnonzero(train.labels == card.classes.index(label))[:DRAWS]
    if not len(places):
        st.caption("This class has no training images.")
        return
    images = train.images[places]
    for title, rows in (
        ("As they are", images),
        ("As the network sees them", draws(images, card, pipeline.spec, seed)),
    ):
        st.markdown(f"**{title}**")
        _row(rows, [f"{label}, training image {place}: {title.lower()}" for place in places], SIDE_PX)


def _grid(pixels: np.ndarray, card: ImageCard, seed: int) -> None:
    """Every transform on one image, weak to strong."""
    for name, kind in TRANSFORMS.items():
        strengths = STRENGTHS if kind.has_strength else (1.0,)
        specs = [Step(transform=name, strength=value).spec for value in strengths]
        st.markdown(f"**{kind.title}** {kind.scale or 'is on or off'}")
        found = np.concatenate([_one(pixels, card, spec, seed) for spec in specs])
        _row(found, [f"{kind.title} at strength {value:g}" for value in strengths], GRID_PX)


def _one(pixels: np.ndarray, card: ImageCard, spec: str, seed: int) -> np.ndarray:
    from core.training.preview import augmented_pixels

    config = TrainConfig(augmentation=spec, seed=seed)
    return augmented_pixels(pixels[None], np.zeros(1, np.int64), card, config)[0]


def _onwards(reference: CheckpointRef, pipeline: Pipeline) -> None:
    card = reference.card
    with st.container(horizontal=True, gap="small"):
        if card.model in RECIPES:
            page_link("images", "Train with this", view="Train", **train_query(card.model, card.dataset.name, pipeline))
        page_link("augmentation", "Forecast its gain", view="Forecast", pipeline=st.session_state[TEXT])
        page_link("augmentation", "Effect on a network", view="Effect")
    folded("Code", lambda: _code(pipeline, card.image_data.image_size), key="augment-code", param="code")


def train_query(model: str, name: str, pipeline: Pipeline) -> dict[str, str]:
    """The address of a training with this pipeline in place of the recipe's augmentation."""
    usual = TrainConfig()
    off = {field: getattr(usual, field) for field in AUGMENTATION}
    changes = off | {"dataset": name, "augmentation": pipeline.spec, "snapshots": SNAPSHOTS["images"]}
    config = RECIPES[model]["default"].replace(**changes)
    return form_query(config)


def _code(pipeline: Pipeline, side: int) -> None:
    code = pipeline.code(side)
    st.code(code, language="python")
    st.caption("Plain torchvision, image by image: the trainer uses the same objects.")
    download("Code (Python)", code, "augmentation.py", key="augment-code-file")
