"""Images / Classify: one image, one or two checkpoints, and how sure each is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from core.checkpoints.store import Card, CheckpointRef
from core.common.errors import LabError
from core.common.theme import colour_of
from core.images.figures import percent, top_bars
from pages.images.help import how_it_works
from pages.images.many_view import back_to_all, many_box, many_toggle, many_view, opened_image
from pages.images.report import answer_report
from pages.images.warning import false_alarms, missed
from pages.shared.checkpoint_picker import calibrated_on, checkpoint_picker, describe
from pages.shared.downloads import EXPORT_ICON
from pages.shared.elements import show_figure
from pages.shared.image_view import DecodedUpload, look, predict, true_class
from pages.shared.registry import page_link
from pages.shared.report import report_button
from pages.shared.resources import dark, loaded
from pages.shared.square import show_input_image
from pages.shared.text import escape_markdown, show_error
from pages.shared.timing import timed
from pages.shared.upload_box import InputImage, example_row, upload_box
from pages.shared.url import linked
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.inference.images import Prediction


PLAIN = 8.0
"""Largest standard deviation, of 255, of the red, green or blue of an image with nothing to see in it."""
WELL_CALIBRATED = 0.05
"""Largest mean gap (0..1) between probability and accuracy on test images at which a page speaks of calibration."""


def classify_view() -> None:
    answer, controls = st.columns([2, 1], gap="large")  # on a phone the answer stands above what it was asked with
    with controls:
        first = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint")
        if first is None:
            return
        several = many_toggle()
        batch = many_box() if several else None
        image = opened_image(batch) if several else upload_box(first.card.dataset)
    second = None
    with answer:
        if several and image is None:
            many_view(batch, first)
        else:
            if several:
                back_to_all()
            answers = st.container()
            second = _second(first)
            with answers, timed("upload to label"):
                _one_image(image, first, second)
    how_it_works([reference for reference in (first, second) if reference])


def _one_image(image: InputImage | None, first: CheckpointRef, second: CheckpointRef | None) -> None:
    if image is None:
        example_row(first.card.dataset)
        st.caption(f"The checkpoint knows {len(first.card.image_data.classes)} classes: {_classes(first)}.")
    else:
        _answers(image, [first] + ([second] if second else []))


def _second(first: CheckpointRef) -> CheckpointRef | None:
    """The checkpoint to compare with, if that is wanted: `?second=` says so too."""
    linked("second", "compare", bool, False, write=lambda _: None)
    if st.toggle("Compare with a second checkpoint", key="compare", persist_state="session"):
        return checkpoint_picker("Second checkpoint", "second", param="second", other=first.name, always=True)
    return None


def _seen(image: InputImage, reference: CheckpointRef) -> DecodedUpload:
    """The image as that checkpoint gets it. Raises LabError."""
    data = reference.card.image_data
    return look(image.data, data.image_size, image.square, data.fit)


def _answers(image: InputImage, references: list[CheckpointRef]) -> None:
    try:
        seen = _seen(image, references[0])
    except LabError as error:
        show_error(f"{image.title}: {error}" if image.title else error)
        return
    show_input_image(image, seen)  # they need no model: they are there at once
    columns = st.columns(len(references), gap="medium")
    with columns[0]:
        until_ready()
    answers: list[Prediction | None] = []
    for column, reference in zip(columns, references, strict=True):
        with column:
            answers.append(_answer_of(image, reference))
    # Two charts show the same classes in the same order, as far as both know them, to be read across.
    rows = list(dict.fromkeys(name for answer in answers if answer for name, _ in answer.top))
    for place, (column, reference, answer) in enumerate(zip(columns, references, answers, strict=True)):
        if answer:
            with column:
                _one_answer(image, seen, reference, answer, rows, key=f"top-{place}")


def _answer_of(image: InputImage, reference: CheckpointRef) -> Prediction | None:
    """What the checkpoint says, or None with a sentence on the page."""
    try:
        seen = _seen(image, reference)
        return predict(reference.card.fingerprint, seen.pixels, _checkpoint=loaded(reference))
    except LabError as error:
        show_error(error)
        return None


def _one_answer(
    image: InputImage,
    seen: DecodedUpload,
    reference: CheckpointRef,
    prediction: Prediction,
    rows: list[str],
    *,
    key: str,
) -> None:
    """One checkpoint's answer. rows: the classes in its chart, from the top."""
    label, probability = prediction.top[0]
    by_class = dict(zip(reference.card.image_data.classes, prediction.probabilities, strict=True))
    calibrated, words = sureness(reference.card, prediction)
    if seen.pixels.std(axis=(0, 1)).max() < PLAIN:
        calibrated, words = False, "The image is nearly of one colour: there is nothing in it to classify."
    model, shown = escape_markdown(reference.label), f"{escape_markdown(label)} · {percent(probability)}"
    if prediction.likely_none_of_these:
        st.markdown(f"## Nearest class for {model}: {shown}")
        st.warning(_warning(reference), icon=":material/help:")
    else:
        st.markdown(f"## {model} says {shown}")
    st.markdown(words)
    true_class(image, label, reference.card.image_data.classes)
    show_figure(
        top_bars(
            [(name, by_class[name]) for name in rows if name in by_class],
            dark=dark(),
            colour=colour_of(reference.card.model, dark=dark()),
            calibrated=calibrated,
        ),
        key=key,
        buttons=(),
        alt="Most likely classes: " + ", ".join(f"{name} {percent(value)}" for name, value in prediction.top),
    )
    query = {"view": "Explain", "checkpoint": reference.name} | image.query(reference.card.dataset.name)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        page_link("attribution", f"Why {escape_markdown(label)}?", **query)
        if not reference.card.calibration.images:
            page_link("images", "How often is it right?", view="Evaluate", checkpoint=reference.name)
            page_link("compression", "Export", icon=EXPORT_ICON, view="Export", checkpoint=reference.name)
        report_button(
            partial(answer_report, image, seen, reference, prediction, words=words, calibrated=calibrated),
            f"{reference.name}-{image.title}",
            key=key,
        )
    with st.expander("Details"):
        st.markdown(f"Answered in {prediction.latency_ms:.0f} ms by {model}: {describe(reference)}.")
        st.markdown(f"Its classes: {_classes(reference)}.")


def sureness(card: Card, prediction: Prediction) -> tuple[bool, str]:
    """Whether its probabilities may be called calibrated, and what the page says of them."""
    images, gap, misses = card.calibration.images, card.metrics.get("test_ece"), missed(card)
    no_proof = f" No warning, but {misses} got none either." if misses else ""
    measured = f"off by {100 * gap:.1f} points on average" if isinstance(gap, int | float) else ""
    if images and not prediction.likely_none_of_these and (not measured or gap <= WELL_CALIBRATED):
        return True, f"Calibrated probability, {measured or calibrated_on(card)}.{no_proof}"
    words = f"Probability, if it is one of these {len(card.image_data.classes)} classes"
    if not images:
        return False, f"{words}. How far to trust it was not measured."
    said = f"{words}, {measured}." if measured and gap > WELL_CALIBRATED else f"{words}."
    return False, said if prediction.likely_none_of_these else f"{said}{no_proof}"


def _classes(reference: CheckpointRef) -> str:
    names = reference.card.image_data.classes
    return ", ".join(map(escape_markdown, names[:20])) + (" …" if len(names) > 20 else "")


def _warning(reference: CheckpointRef) -> str:
    rate = false_alarms(reference.card)
    text = f"This is probably none of the {len(reference.card.image_data.classes)} classes."
    if rate is None:
        return text
    if reference.card.calibration.threshold_images:  # too few to have counted
        return f"{text} Up to 5 in 100 familiar images get this warning too."
    return f"{text} About {max(1, round(100 * rate))} in 100 familiar images get this warning too."
