"""Images / Classify: one image, one or two checkpoints, and how sure each is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.theme import colour_of
from core.images.figures import percent, top_bars
from pages.images.help import how_it_works
from pages.shared.checkpoint_picker import UNCALIBRATED, checkpoint_picker, describe
from pages.shared.elements import show_figure, show_image
from pages.shared.image_view import SHOWN_PX, DecodedUpload, look, predict, true_class
from pages.shared.registry import page_link
from pages.shared.resources import dark, loaded
from pages.shared.text import escape_markdown, show_error
from pages.shared.upload_box import InputImage, example_row, upload_box
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.inference.images import Prediction


def classify_view() -> None:
    controls, answer = st.columns([1, 2], gap="large")
    with controls:
        first = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint")
        compare = st.toggle("Compare with a second one", key="compare", persist_state="session")
        second = None
        if first and compare:
            second = checkpoint_picker("Second checkpoint", "second", param="second", other=first.name)
        image = upload_box(first.card.dataset) if first else None
    with answer:
        if first is None:
            return
        if image is None:
            example_row()
            st.caption(f"The checkpoint knows {len(first.card.image_data.classes)} classes: {_classes(first)}.")
        else:
            _answers(image, [first] + ([second] if second else []))
    how_it_works([reference for reference in (first, second) if reference])


def _answers(image: InputImage, references: list[CheckpointRef]) -> None:
    try:
        seen = look(image.data, references[0].card.image_data.image_size)
    except LabError as error:
        show_error(f"{image.title}: {error}" if image.title else error)
        return
    columns = st.columns(len(references), gap="medium")
    # The images stand below, but need no model: they are there at once, also where the answer has to wait for it.
    _images(image, seen)
    with columns[0]:
        until_ready()
    answers: list[Prediction | None] = []
    for column, reference in zip(columns, references, strict=True):
        with column:
            if len(references) > 1:
                st.markdown(f"**{escape_markdown(reference.label)}**")
            answers.append(_answer_of(image, reference))
    # Two charts show the same classes in the same order, as far as both know them, to be read across.
    rows = list(dict.fromkeys(name for answer in answers if answer for name, _ in answer.top))
    for place, (column, reference, answer) in enumerate(zip(columns, references, answers, strict=True)):
        if answer:
            with column:
                _one_answer(image, reference, answer, rows, key=f"top-{place}")


def _answer_of(image: InputImage, reference: CheckpointRef) -> Prediction | None:
    """What the checkpoint says, or None with a sentence on the page."""
    try:
        seen = look(image.data, reference.card.image_data.image_size)
        return predict(reference.card.fingerprint, seen.pixels, _checkpoint=loaded(reference))
    except LabError as error:
        show_error(error)
        return None


def _one_answer(
    image: InputImage, reference: CheckpointRef, prediction: Prediction, rows: list[str], *, key: str
) -> None:
    """One checkpoint's answer. rows: the classes in its chart, from the top."""
    label, probability = prediction.top[0]
    by_class = dict(zip(reference.card.image_data.classes, prediction.probabilities, strict=True))
    if prediction.likely_none_of_these:
        st.warning(_warning(reference), icon=":material/help:")
        st.markdown(f"## nearest: {escape_markdown(label)} · {percent(probability)}")
    else:
        st.markdown(f"## {escape_markdown(label)} · {percent(probability)}")
    true_class(image, label, reference.card.image_data.classes)
    show_figure(
        top_bars(
            [(name, by_class[name]) for name in rows if name in by_class],
            dark=dark(),
            colour=colour_of(reference.card.model, dark=dark()),
            calibrated=reference.card.calibration.images > 0,
        ),
        key=key,
        buttons=(),
        alt="Most likely classes: " + ", ".join(f"{name} {percent(value)}" for name, value in prediction.top),
    )
    st.caption(
        f"Answered in {prediction.latency_ms:.0f} ms by {escape_markdown(reference.label)}: {describe(reference)}."
    )
    if not reference.card.calibration.images:
        st.caption(UNCALIBRATED)
    number = {} if image.number is None else {"image": str(image.number)}
    page_link("attribution", f"Why {escape_markdown(label)}?", view="Explain", checkpoint=reference.name, **number)


def _images(image: InputImage, seen: DecodedUpload) -> None:
    side = seen.pixels.shape[0]
    with st.container(horizontal=True, gap="medium"):
        with st.container(width=SHOWN_PX + 6, gap="xsmall"):
            show_image(seen.preview, width=SHOWN_PX, alt=f"The image as it came: {image.title}")
            notes = "".join(f", {escape_markdown(note)}" for note in seen.notes)
            st.caption(
                f"What you gave: {escape_markdown(image.title)}, {seen.width}×{seen.height} {seen.format}{notes}"
            )
        with st.container(width=SHOWN_PX + 6, gap="xsmall"):
            show_image(seen.enlarged, width=SHOWN_PX, alt=f"The same image as {side} by {side} large pixels")
            st.caption(f"What the model sees: {side}×{side} pixels")


def _classes(reference: CheckpointRef) -> str:
    names = reference.card.image_data.classes
    return ", ".join(map(escape_markdown, names[:20])) + (" …" if len(names) > 20 else "")


def _warning(reference: CheckpointRef) -> str:
    rate = reference.card.calibration.false_alarm_rate
    text = f"This is probably none of the {len(reference.card.image_data.classes)} classes ({_classes(reference)})."
    if rate is None:
        return text
    return f"{text} About {max(1, round(100 * rate))} in 100 images that are one of them get this warning too."
