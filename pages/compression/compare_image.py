"""Same image, both models: what each says of it, and which pixels each looks at."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.attribution.evidence.similarity import rank_correlation
from core.attribution.figures import overlay
from core.attribution.methods.registry import get_method
from core.attribution.networks import float_twin_note
from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.common.theme import colour_of
from core.compression.recipe import ORIGINAL
from core.images.figures import percent, top_bars
from pages.compression.disagreements import differences
from pages.compression.result_files import ResultFiles, choose_variant
from pages.shared.elements import show_figure, show_image
from pages.shared.image_view import SHOWN_PX, DecodedUpload, look
from pages.shared.resources import dark, explainer_of, loaded
from pages.shared.square import show_input_image
from pages.shared.text import escape_markdown, show_error
from pages.shared.upload_box import InputImage, example_row, upload_box
from pages.shared.warmup import until_ready

TOP = 5
MAP_PX = 160
"""Side of a map: two fit beside each other on a phone, and a pixel is 5x5 of the screen's."""
Pair = tuple[CheckpointRef, CheckpointRef]


def same_image(made: ResultFiles, key: str) -> None:
    item, first = choose_variant(made, f"same-{key}", network=True), made.result.first
    if item is None or first is None:
        return
    controls, answer = st.columns([1, 2], gap="large")
    image, pair = None, None
    with answer:
        try:
            pair = made.reference(first), made.reference(item)
        except LabError as error:
            st.caption(escape_markdown(error))
    if pair:
        with controls:
            image = upload_box(pair[0].card.dataset)
    if pair and image is None:
        with answer:
            example_row(pair[0].card.dataset)
    elif pair and image:
        try:
            seen = look(image.data, pair[0].card.image_data.image_size, image.square, pair[0].card.image_data.fit)
            with controls:
                _image(image, seen)
            with answer:
                _both(seen, pair, (ORIGINAL.capitalize(), made.label(item.id)), key)
        except LabError as error:
            with answer:
                show_error(error)
    differences(made, item, key)


def _image(image: InputImage, seen: DecodedUpload) -> None:
    if image.token:
        show_input_image(image, seen)
        return
    show_image(seen.enlarged, width=SHOWN_PX, alt=f"{image.title}, as the models see it")
    side = seen.pixels.shape[0]
    truth = f"; the test set says {escape_markdown(image.label)}" if image.label else ""
    st.caption(f"{escape_markdown(image.title)}, {side}×{side} pixels as both models see it{truth}")


def _both(seen: DecodedUpload, pair: Pair, names: tuple[str, str], key: str) -> None:
    """Answers and maps, side by side. Raises LabError for a checkpoint that cannot be read."""
    until_ready(everything=True)
    networks = [loaded(reference) for reference in pair]
    classes = pair[0].card.image_data.classes
    own = pair[1].card.calibration
    temperatures = [pair[0].card.calibration.temperature] * 2
    if own.images:
        temperatures[1] = own.temperature
    answers = [
        probabilities(reference.card.fingerprint, seen.pixels, temperature, _checkpoint=network)
        for reference, temperature, network in zip(pair, temperatures, networks, strict=True)
    ]
    target = int(np.argmax(answers[0]))
    maps = [attribution(reference.card.fingerprint, seen.pixels, target, _reference=reference) for reference in pair]
    shown = dict.fromkeys(int(place) for found in answers for place in np.argsort(found)[::-1][:TOP])
    for place, column in enumerate(st.columns(2, gap="medium")):
        found, card = answers[place], pair[place].card
        best = int(np.argmax(found))
        with column:
            st.markdown(f"**{escape_markdown(names[place])}**")
            st.markdown(f"## {escape_markdown(classes[best])} · {percent(found[best])}")
            show_figure(
                top_bars(
                    [(classes[row], found[row]) for row in shown],
                    dark=dark(),
                    colour=colour_of(card.model, dark=dark()),
                    calibrated=card.calibration.images > 0,
                ),
                key=f"same-{place}-{key}",
                buttons=(),
                alt=f"{names[place]}: " + ", ".join(f"{classes[row]} {percent(found[row])}" for row in shown),
            )
    st.markdown(f"**What “{escape_markdown(classes[target])}” depends on**")
    with st.container(horizontal=True, gap="small"):
        for place in range(2):
            with st.container(width=MAP_PX + 4, gap="xsmall"):
                show_figure(
                    overlay(maps[place], seen.pixels, signed=False, dark=dark(), side=MAP_PX),
                    width="content",
                    key=f"map-{place}-{key}",
                    buttons=(),
                    alt=f"{names[place]}: how strongly the answer {classes[target]} depends on each pixel",
                )
                st.caption(escape_markdown(names[place]))
    st.caption(_about(networks[1], classes[target], rank_correlation(*maps), calibrated=bool(own.images)))


def _about(variant: Checkpoint, target: str, alike: float, *, calibrated: bool) -> str:
    said = [
        f"The maps: how strongly the logit of “{escape_markdown(target)}”, the original's answer, reacts to each pixel "
        f"(gradient; [Simonyan et al.](https://arxiv.org/abs/1312.6034)), each on its own scale. Their rank correlation is "
        f"{alike:.2f}".replace("-", "−")
        + ": 1 is the same pixels in the same order.",
    ]
    if twin := float_twin_note(variant.card, "maps"):
        said.append(escape_markdown(twin))
    if not calibrated:
        said.append("The variant is not calibrated: both probabilities are at the original's temperature.")
    said.append("One view of the image each, no test-time augmentation.")
    return " ".join(said)


@st.cache_data(max_entries=64, show_spinner=False)
def probabilities(
    fingerprint: str, pixels: np.ndarray, temperature: float, *, _checkpoint: Checkpoint
) -> tuple[float, ...]:
    """Of each class, one view. pixels: (H, W, 3) uint8."""
    from core.inference.images import logits_of

    logits = logits_of(_checkpoint, pixels[None].copy(), "none").numpy()[0]
    weights = np.exp((logits - logits.max()) / temperature)
    return tuple(float(value) for value in weights / weights.sum())


@st.cache_data(max_entries=64, show_spinner=False)
def attribution(fingerprint: str, pixels: np.ndarray, target: int, *, _reference: CheckpointRef) -> np.ndarray:
    """How strongly the logit of a class depends on each pixel, (H, W)."""
    return explainer_of(_reference).attribute(get_method("saliency"), pixels, target).pixels
