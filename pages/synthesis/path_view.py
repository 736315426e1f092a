"""Synthesis / From noise: the way to one image, what lies between two noises, and the nearest training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.common.pixels import enlarge
from core.common.progress import Progress
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import show_image
from pages.shared.number_field import number_field
from pages.shared.resources import dataset
from pages.shared.tasks import background
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import number, one_of
from pages.synthesis.query import CLASS, NOISE, GeneratorQuery, ask_generator

if TYPE_CHECKING:
    from core.synthesis.evidence import Nearest
    from core.synthesis.path import Path

OTHER = "synthesis-other"
MOST_NOISE = 9_999
FRAME_PX, NEAR_PX = 60, 112
SHOWN = 4
"""Nearest training images."""


def path_view() -> None:
    answer, controls = st.columns([3, 1], gap="medium")
    with controls:
        place, box = st.container(), st.container()
        with box:
            asked = ask_generator()
        if asked is None:
            return
        with place:
            label = _ask_class(asked)
            noise, other = _ask_noises()
    with answer:
        found = _path(asked, label, noise, other)
        if found is not None:
            _draw(asked, label, noise, other, found)


def _ask_class(asked: GeneratorQuery) -> int:
    linked("class", CLASS, one_of(asked.classes, "class"), asked.classes[0], of=asked.reference.name)
    if st.session_state.get(CLASS) not in asked.classes:
        st.session_state[CLASS] = asked.classes[0]
    return asked.classes.index(st.selectbox("Class", asked.classes, key=CLASS, persist_state="session"))


def _ask_noises() -> tuple[int, int]:
    linked("noise", NOISE, number(0, MOST_NOISE, "the noise"), 0)
    linked("to", OTHER, number(0, MOST_NOISE, "the other noise"), 1)
    left, right = st.columns(2)
    with left:
        words = "Number of the noise that the image is made of. Another seed has other noises."
        noise = int(number_field("Noise", 0, MOST_NOISE, key=NOISE, step=1, help=words))
    with right:
        words = "The images between are made of mixtures of both noises."
        other = int(number_field("Other noise", 0, MOST_NOISE, key=OTHER, step=1, help=words))
    return noise, other


def _path(asked: GeneratorQuery, label: int, noise: int, other: int) -> Path | None:
    checkpoint = asked.load()
    if checkpoint is None:
        return None

    def work(report: Progress) -> Path:
        from core.synthesis.path import trace_path

        report(0.0, "following the flow")
        return trace_path(checkpoint, label, noise, other, seed=asked.seed, steps=asked.steps, guidance=asked.guidance)

    key = f"path-{asked.key}-{label}-{noise}-{other}"
    found: Path | None = background(key, "follow-flow", work, label="Follow the flow")
    return found


def _draw(asked: GeneratorQuery, label: int, noise: int, other: int, found: Path) -> None:
    name = escape_markdown(asked.classes[label])
    st.markdown(f"## Noise {noise} becomes: {name}, in {asked.steps} {'step' if asked.steps == 1 else 'steps'}")
    words = ["noise", *(f"t = {time:.2f}" for time in found.times[1:-1]), "image"]
    _strip(found.frames, words, f"The way from noise to {asked.classes[label]}")
    st.markdown(f"**Between noise {noise} and noise {other}**")
    shares = np.linspace(0, 1, len(found.between))
    _strip(found.between, [f"{share:.0%}" for share in shares], f"Images between two noises of {asked.classes[label]}")
    st.markdown("**Is it a copy? The nearest training images**")
    if dataset_or_offer(asked.reference.card.dataset.name, "compare with the training images", "nearest"):
        for way in ("pixels", "features"):
            _nearest(asked, label, noise, found.frames[-1], way)


def _strip(images: np.ndarray, words: list[str], alt: str) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        for image, text in zip(images, words, strict=True):
            with st.container(width=FRAME_PX + 4, gap="xxsmall"):
                show_image(enlarge(image, 2 * FRAME_PX), width=FRAME_PX, alt=f"{alt}: {text}")
                st.caption(text)


def _nearest(asked: GeneratorQuery, label: int, noise: int, image: np.ndarray, way: str) -> None:
    def work(report: Progress) -> Nearest:
        from core.synthesis.evidence import nearest_of

        card = asked.reference.card
        return nearest_of(card, image, dataset(card.dataset.name), way, report, SHOWN)

    key = f"nearest-{way}-{asked.key}-{label}-{noise}"
    near: Nearest | None = background(key, f"nearest-{way}", work, label=f"Compare {way}")
    if near is None:
        return
    verdict = "Not a copy" if near.ratio >= near.usual else "Unusually close to one training image"
    st.markdown(
        f"{verdict}, by {way}.",
        help=f"The nearest training image is {near.ratio:.0%} as far as the 50 nearest are on average; of new real images 95% "
        f"are above {near.usual:.0%}. An exact copy is at 0%.",
    )
    with st.container(horizontal=True, gap="xsmall"):
        for pixels, title in zip((image, *near.images), ("generated", *near.labels), strict=True):
            with st.container(width=NEAR_PX + 4, gap="xxsmall"):
                show_image(enlarge(pixels, 2 * NEAR_PX), width=NEAR_PX, alt=f"{title}, compared by {way}")
                st.caption(escape_markdown(title))
