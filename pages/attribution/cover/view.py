"""Attribution / Cover by hand: take parts of the image away, and watch the answer move."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from core.attribution.baselines import BASELINES
from core.attribution.evidence.masking import baseline_pixels
from core.common.errors import LabError
from core.common.pixels import enlarge
from core.common.theme import colour_of
from core.images.figures import before_after, percent
from pages.attribution.cover import cover, drawn
from pages.attribution.cover.by_map import let_a_map_cover
from pages.attribution.cover.figures import way
from pages.attribution.cover.steps import Covering, covering_of
from pages.attribution.query import AttributionQuery, ask, ask_checkpoint
from pages.attribution.slow import only
from pages.shared.copy_link import not_in_link
from pages.shared.elements import download, show_figure
from pages.shared.resources import dark, explainer_of
from pages.shared.text import escape_markdown, show_error
from pages.shared.upload_box import example_row
from pages.shared.url import linked_fragment

CANVAS = "cover"
SHOWN = 5
"""Classes in the chart."""
UNNOTICED = 0.005
"""Change of a probability that is not worth a word."""


def cover_view() -> None:
    answer, controls = st.columns([12, 5], gap="large")
    with controls:
        reference = ask_checkpoint()
        asked = ask(reference=reference) if reference else None
    with answer:
        only(asked)
        if asked is not None:
            linked_fragment(_covering)(asked)
        elif reference:
            example_row(reference.card.dataset)


def _covering(asked: AttributionQuery) -> None:
    """Runs alone while somebody draws; the rest of the page stays as it is."""
    covering = covering_of(asked.pixels)
    covering.take(drawn(CANVAS, asked.pixels.shape[0]))
    heading = st.container()
    canvas, answer = st.columns([6, 5], gap="medium")
    by_map = st.container()
    try:
        explainer = explainer_of(asked.reference)
        with by_map:
            let_a_map_cover(asked, covering, explainer)
        base = baseline_pixels(explainer, asked.pixels, asked.baseline)
        found = covering.probabilities(explainer, asked.reference.card.fingerprint, asked.baseline)
    except LabError as error:
        show_error(error)
        return
    before, now = (percent(float(found[step, asked.target])) for step in (0, -1))
    if covering.mask.any():
        not_in_link("What you covered is not in the link: it opens with nothing covered.")
    # One line, or the image would move below the pointer that draws on it: the words stand beside it.
    heading.markdown(f"## {escape_markdown(asked.label)} · {f'{before} → {now}' if covering.mask.any() else before}")
    with canvas:
        _canvas(asked, covering, base)
    with answer:
        st.markdown(_words(asked, covering.mask, found))
        if np.array_equal(base, asked.pixels):
            st.info("The image is its own baseline, so covering changes nothing: choose another baseline.")
        _charts(asked, covering, found)
        _download(asked, covering, base)


def _words(asked: AttributionQuery, mask: np.ndarray, found: np.ndarray) -> str:
    """What covering did, in a sentence or two of Markdown. found: (steps, classes)."""
    before, now = float(found[0, asked.target]), float(found[-1, asked.target])
    count, total, label = int(mask.sum()), mask.size, escape_markdown(asked.label)
    if not count:
        return f"Nothing is covered yet. What you cover becomes {BASELINES[asked.baseline]}."
    words = f"{count:,} of {total:,} pixels are covered ({100 * count / total:.0f}%). "
    if abs(now - before) < UNNOTICED:
        words += f"The network is as sure of {label} as before."
    else:
        words += f"The network is {'more' if now > before else 'less'} sure of {label} than before."
    first, winner = int(found[0].argmax()), int(found[-1].argmax())
    if winner != first:
        words += f" It now says **{escape_markdown(asked.classes[winner])}**, {percent(float(found[-1, winner]))}."
    return words


def _canvas(asked: AttributionQuery, covering: Covering, base: np.ndarray) -> None:
    side = asked.pixels.shape[0]
    share = 100 * covering.mask.mean()
    cover(
        CANVAS,
        pixels=asked.pixels,
        base=base,
        mask=covering.mask,
        revision=covering.revision,
        stroke=covering.stroke,
        label=f"{asked.image.title} as the network gets it, {side} by {side} pixels, {share:.0f}% covered.",
    )

    def press(label: str, key: str, icon: str, change: Callable[[], None], disabled: bool = False) -> None:
        st.button(label, key=key, icon=icon, on_click=_after_drawing, args=(covering, change), disabled=disabled)

    with st.container(horizontal=True, gap="xsmall"):
        alone = len(covering.masks) == 1
        press("Undo", "cover-undo", ":material/undo:", covering.undo, disabled=alone)
        nothing = np.zeros_like(covering.mask)
        press("Clear", "cover-clear", ":material/clear:", lambda: covering.set(nothing), not covering.mask.any())
        press("Cover all but this", "cover-invert", ":material/invert_colors:", lambda: covering.set(~covering.mask))


def _after_drawing(covering: Covering, change: Callable[[], None]) -> None:
    """A button pressed right after a stroke comes together with it: the stroke was first."""
    covering.take(drawn(CANVAS, covering.mask.shape[0]))
    change()


def _charts(asked: AttributionQuery, covering: Covering, found: np.ndarray) -> None:
    before, now = found[0], found[-1]
    shown = [int(place) for place in np.argsort(-before, kind="stable")[:SHOWN]]
    shown += [place for place in dict.fromkeys((int(now.argmax()), asked.target)) if place not in shown]
    rows = [(asked.classes[place], float(before[place]), float(now[place])) for place in shown]
    card = asked.reference.card
    colour = colour_of(card.model, dark=dark())
    show_figure(
        before_after(rows, asked.label, dark=dark(), colour=colour, calibrated=card.calibration.images > 0),
        key="cover-bars",
        buttons=(),
        alt="Probabilities, with nothing covered and now: "
        + ", ".join(f"{label} {percent(was)} and {percent(is_now)}" for label, was, is_now in rows),
    )
    if len(covering.masks) > 1:
        values = [float(value) for value in found[:, asked.target]]
        show_figure(
            way(covering.steps, values, asked.label, dark=dark(), colour=colour),
            key="cover-way",
            buttons=(),
            alt=f"Probability of {asked.label} after each step: " + ", ".join(map(percent, values)),
        )


def _download(asked: AttributionQuery, covering: Covering, base: np.ndarray) -> None:
    download(
        "Covered image (PNG)",
        enlarge(np.where(covering.mask[..., None], base, asked.pixels), 640),
        "covered.png",
        key="cover-png",
        help="The image as the network gets it, each of its pixels a square.",
    )
