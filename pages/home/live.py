"""What the shipped checkpoints say now: of a drawing, with the pixels that count, and a line of a play."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.attribution.method import Method
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from pages.shared.elements import show_image
from pages.shared.examples import examples
from pages.shared.image_view import look, predict
from pages.shared.resources import dark, loaded
from pages.shared.text import escape_markdown, show_error
from pages.shared.warmup import Warmup, warmup

DRAWING = "ship"
METHOD, BASELINE = "grad_cam", "mean"
PROMPT, LINE_CHARACTERS = "ROMEO:\n", 90
IMAGE_PX = 160
"""Two fit beside each other on a phone, and each pixel of the model's becomes 5x5 of the screen's."""
POLL_S = 0.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a checkpoint gives its answer."""

    values: np.ndarray
    """(H, W): the map."""
    method: Method
    before: float
    """Probability of the answer, of one view, 0..1."""
    after: float
    """The same once the first pixels of the map are covered."""
    now: str
    """The answer then."""


def live(draw: str, reference: CheckpointRef) -> None:
    """Draw `picture` or `line` at once as far as it goes, and the rest when PyTorch is there."""
    warm = warmup()
    waiting = os.environ.get("LAB_WARM") != "0" and not warm.done.is_set()
    st.fragment(_picture if draw == "picture" else _line, run_every=POLL_S if waiting else None)(reference, waiting)


def _picture(reference: CheckpointRef, polling: bool) -> None:
    warm = warmup()
    if polling and warm.done.is_set():
        st.rerun()
    try:
        _answer(reference, warm)
    except LabError as error:
        show_error(error)


def _answer(reference: CheckpointRef, warm: Warmup) -> None:
    """Raises LabError."""
    card = reference.card
    seen = look(examples()[DRAWING], card.image_data.image_size)
    heading, images = st.container(), st.container(horizontal=True, gap="small")
    with images:
        show_image(seen.preview, width=IMAGE_PX, alt=f"Drawing of a {DRAWING}")
    if not _ready(warm, heading, warm.ready.is_set()):
        return
    from core.images.figures import percent

    found = predict(card.fingerprint, seen.pixels, _checkpoint=loaded(reference))
    label, probability = found.top[0]
    says = "Nearest class for {}:" if found.likely_none_of_these else "{} says"
    heading.markdown(
        f"## {says.format(escape_markdown(reference.label))} {escape_markdown(label)} · {percent(probability)}"
    )
    if not warm.done.is_set():
        images.caption("Its heatmap follows.")
        return
    why = explanation(reference, seen.pixels, label)
    from core.attribution.figures import overlay_png
    from pages.shared.maps import colour_words

    with images.container(width=IMAGE_PX, gap="xsmall"):
        show_image(
            overlay_png(why.values, seen.pixels, signed=why.method.signed, dark=dark(), side=IMAGE_PX),
            width=IMAGE_PX,
            alt=f"{why.method.title}: heatmap of why {label}",
        )
        st.markdown(f":small[{colour_words(label, why.method)}]")
    st.markdown(covering_words(label, why))


def explanation(reference: CheckpointRef, pixels: np.ndarray, label: str) -> Explanation:
    """The map of METHOD, and what covering its first pixels does. Raises LabError."""
    from pages.shared.maps import COVERED_SHARE, attribution_map, probabilities_covered

    fingerprint, classes = reference.card.fingerprint, reference.card.image_data.classes
    target = classes.index(label)
    found = attribution_map(fingerprint, pixels, METHOD, (), target, BASELINE, _reference=reference)
    before, after = (
        probabilities_covered(fingerprint, pixels, found.magnitude, BASELINE, share, _reference=reference)
        for share in (0.0, COVERED_SHARE)
    )
    return Explanation(
        values=found.pixels,
        method=found.method,
        before=float(before[target]),
        after=float(after[target]),
        now=classes[int(after.argmax())],
    )


def covering_words(label: str, why: Explanation) -> str:
    """What covering does to the answer, in Markdown."""
    from core.images.figures import percent
    from pages.shared.maps import COVERED_SHARE

    name, now = escape_markdown(label), escape_markdown(why.now)
    then = f"still {name}" if why.now == label else f"now {now}"
    return (
        f"**Cover the map's top {COVERED_SHARE:.0%}:** {name} goes from {percent(why.before)} to "
        f"{percent(why.after)}, {then}."
    )


def _line(reference: CheckpointRef, polling: bool) -> None:
    warm = warmup()
    if polling and warm.done.is_set():
        st.rerun()
    if not _ready(warm, st.container(), warm.done.is_set()):
        return
    try:
        line = written_line(reference.card.fingerprint, _reference=reference)
    except LabError as error:
        show_error(error)
        return
    st.markdown(f"## “{escape_markdown(line)}”")
    model = escape_markdown(reference.label)
    st.markdown(f"{model} wrote this after “{escape_markdown(PROMPT)}”.")


@st.cache_data(max_entries=8, show_spinner=False)
def written_line(fingerprint: str, *, _reference: CheckpointRef) -> str:
    """The first line that a language model adds to PROMPT. Raises LabError."""
    from core.inference.generate import write
    from core.inference.sampling import SamplingConfig, usual_precision

    config = SamplingConfig(length=LINE_CHARACTERS, temperature=0.6, seed=0)
    written = write(loaded(_reference), PROMPT, config, precision=usual_precision(_reference.card))
    return next(iter("".join(item.character for item in written).strip().splitlines()), "")


def _ready(warm: Warmup, place: DeltaGenerator, ready: bool) -> bool:
    """Whether the checkpoint can answer; else `place` says why it does not yet."""
    if warm.error:
        place.info(f"The live example cannot start: {escape_markdown(warm.error)}")
        return False
    if not ready:
        place.caption(f":material/hourglass_top: {warm.stage}")
    return ready
