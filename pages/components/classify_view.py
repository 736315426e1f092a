"""Images / Classify: one picture, one or two checkpoints, and how sure each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.checkpoints import Checkpoint, CheckpointRef
from core.errors import LabError
from core.images import decode_image, fit_to_model
from core.plots.classification import percent, top_bars
from core.plots.pixels import enlarge, preview
from core.plots.theme import colour_of
from pages.components.addresses import why_link
from pages.components.checkpoint_picker import UNCALIBRATED, checkpoint_picker, describe
from pages.components.classify_help import how_it_works
from pages.components.resources import dark, loaded
from pages.components.text import plain, show_error
from pages.components.upload_box import Picture, example_row, upload_box
from pages.components.warmup import until_ready

if TYPE_CHECKING:
    from core.inference import Prediction

SHOWN_PX = 224
"""Side of both pictures on the page: a multiple of 32, so that each pixel of the model's becomes 7x7 of the screen's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """An upload after decoding. pixels: (size, size, 3) uint8, what the model gets."""

    pixels: np.ndarray
    preview: bytes
    enlarged: bytes
    width: int
    height: int
    format: str
    notes: tuple[str, ...]


def classify_view() -> None:
    """The whole of the tab."""
    controls, answer = st.columns([1, 2], gap="large")
    with controls:
        first = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint")
        compare = st.toggle("Compare with a second one", key="compare", persist_state="session")
        second = None
        if first and compare:
            second = checkpoint_picker("Second checkpoint", "second", param="second", other=first.name)
        picture = upload_box()
    with answer:
        if first is None:
            return
        if picture is None:
            st.markdown("**Upload a photo, or try one of these drawings:**")
            example_row()
            st.caption(f"The checkpoint knows {len(first.card.image_data.classes)} classes: {_classes(first)}.")
        else:
            _answers(picture, [first] + ([second] if second else []))
    how_it_works([reference for reference in (first, second) if reference])


def _answers(picture: Picture, references: list[CheckpointRef]) -> None:
    try:
        seen = look(picture.data, references[0].card.image_data.image_size)
    except LabError as error:
        show_error(f"{picture.title}: {error}" if picture.title else error)
        return
    columns = st.columns(len(references), gap="medium")
    # The pictures stand below, but need no model: they are there at once, also where the answer has to wait for it.
    _pictures(picture, seen)
    with columns[0]:
        until_ready()
    answers: list[Prediction | None] = []
    for column, reference in zip(columns, references, strict=True):
        with column:
            if len(references) > 1:
                st.markdown(f"**{plain(reference.label)}**")
            answers.append(_answer_of(picture, reference))
    # Two charts show the same classes in the same order, as far as both know them, to be read across.
    rows = list(dict.fromkeys(name for answer in answers if answer for name, _ in answer.top))
    for place, (column, reference, answer) in enumerate(zip(columns, references, answers, strict=True)):
        if answer:
            with column:
                _one_answer(picture, reference, answer, rows, key=f"top-{place}")


def _answer_of(picture: Picture, reference: CheckpointRef) -> Prediction | None:
    """What the checkpoint says, or None with a sentence on the page."""
    try:
        seen = look(picture.data, reference.card.image_data.image_size)
        return predict(reference.card.fingerprint, seen.pixels, _checkpoint=loaded(reference))
    except LabError as error:
        show_error(error)
        return None


def _one_answer(
    picture: Picture, reference: CheckpointRef, prediction: Prediction, rows: list[str], *, key: str
) -> None:
    """One checkpoint's answer. rows: the classes in its chart, from the top."""
    label, probability = prediction.top[0]
    by_class = dict(zip(reference.card.image_data.classes, prediction.probabilities, strict=True))
    if prediction.likely_none_of_these:
        st.warning(_warning(reference), icon=":material/help:")
        st.markdown(f"## nearest: {plain(label)} · {percent(probability)}")
    else:
        st.markdown(f"## {plain(label)} · {percent(probability)}")
    if picture.label:
        right = picture.label == label
        icon = ":material/check: right" if right else ":material/close: wrong"
        st.caption(f"{icon}, the test set says {plain(picture.label)}")
    st.plotly_chart(
        top_bars(
            [(name, by_class[name]) for name in rows if name in by_class],
            dark=dark(),
            colour=colour_of(reference.card.model, dark=dark()),
            calibrated=reference.card.calibration.images > 0,
        ),
        theme=None,
        key=key,
        config={"displayModeBar": False},
        alt="Most likely classes: " + ", ".join(f"{name} {percent(value)}" for name, value in prediction.top),
    )
    st.caption(f"Answered in {prediction.latency_ms:.0f} ms by {plain(reference.label)}: {describe(reference)}.")
    if not reference.card.calibration.images:
        st.caption(UNCALIBRATED)
    why_link(reference.name, f"Why {plain(label)}?")


def _pictures(picture: Picture, seen: Seen) -> None:
    side = seen.pixels.shape[0]
    with st.container(horizontal=True, gap="medium"):
        with st.container(width=SHOWN_PX + 6, gap="xsmall"):
            st.image(seen.preview, width=SHOWN_PX, alt=f"The picture as it came: {picture.title}")
            notes = "".join(f", {plain(note)}" for note in seen.notes)
            st.caption(f"What you gave: {plain(picture.title)}, {seen.width}×{seen.height} {seen.format}{notes}")
        with st.container(width=SHOWN_PX + 6, gap="xsmall"):
            st.image(seen.enlarged, width=SHOWN_PX, alt=f"The same picture as {side} by {side} large pixels")
            st.caption(f"What the model sees: {side}×{side} pixels")


@st.cache_data(max_entries=32, show_spinner=False)
def look(data: bytes, size: int) -> Seen:
    """Decode and shrink. Raises LabError for what cannot be shown right."""
    decoded = decode_image(data)
    height, width = decoded.rgb.shape[:2]
    pixels = fit_to_model(decoded.rgb, size)
    return Seen(
        pixels=pixels,
        preview=preview(decoded.rgb, 2 * SHOWN_PX),
        enlarged=enlarge(pixels, SHOWN_PX),
        width=width,
        height=height,
        format=decoded.format,
        notes=decoded.notes,
    )


@st.cache_data(max_entries=128, show_spinner=False)
def predict(fingerprint: str, pixels: np.ndarray, *, _checkpoint: Checkpoint) -> Prediction:
    """The answer of this checkpoint to these pixels; the same question is answered once."""
    from core.inference import classify

    return classify(_checkpoint, pixels[None].copy())[0]


def _classes(reference: CheckpointRef) -> str:
    names = reference.card.image_data.classes
    return ", ".join(map(plain, names[:20])) + (" …" if len(names) > 20 else "")


def _warning(reference: CheckpointRef) -> str:
    rate = reference.card.calibration.false_alarm_rate
    text = f"This is probably none of the {len(reference.card.image_data.classes)} classes ({_classes(reference)})."
    if rate is None:
        return text
    return f"{text} About {max(1, round(100 * rate))} in 100 pictures that are one of them get this warning too."
