"""What all comparisons share: maps of several questions, drawn small beside each other, their scores following."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.attribution.evidence.similarity import rank_correlation
from core.attribution.figures import limit, overlay
from core.attribution.method import no_progress
from core.attribution.methods.registry import METHODS, SLOW
from core.common.errors import LabError
from core.common.progress import Progress
from core.images.figures import percent
from pages.attribution.cached import attributed, score_map
from pages.attribution.maps import BLANK, MAP_PX, Display, badge, display_controls, doubt, signed_number
from pages.attribution.query import AttributionQuery
from pages.attribution.settings import settings_of
from pages.attribution.slow import INLINE_S, about, background, seconds
from pages.shared.elements import show_figure
from pages.shared.resources import dark
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import one_of

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution

UNLIKELY = 0.05
"""A class whose probability stays below this, whatever is covered, has no probability to lose: its scores say nothing."""
QUIET_S = 0.3
"""Measuring that takes less shows no progress."""
Score = tuple[DeltaGenerator, AttributionQuery, "Attribution"]
"""The place for the score of a map, and the question that the map answers."""


def maps_of(
    asked: AttributionQuery, name: str, questions: Sequence[AttributionQuery]
) -> list[Attribution | LabError] | None:
    """The map of a method for each question, or why there is none. None while they are made, with progress on the page."""
    settings = [settings_of(name, question.reference) for question in questions]

    def one(place: int, on_progress: Callable[[float], None] = no_progress) -> Attribution | LabError:
        try:
            return attributed(questions[place], name, settings[place], on_progress=on_progress)
        except LabError as error:
            return error

    def work(report: Progress) -> list[Attribution | LabError]:
        def told(place: int) -> Callable[[float], None]:
            return lambda share: report((place + share) / len(questions), METHODS[name].title)

        return [one(place, told(place)) for place in range(len(questions))]

    with st.spinner(f"Asking {METHODS[name].title}"):
        if name not in SLOW or len(questions) * seconds(questions[0], name) <= INLINE_S:
            return [one(place) for place in range(len(questions))]
    told = [(question.reference.card.fingerprint, question.target) for question in questions]
    found: list[Attribution | LabError] | None = background(
        asked, ("compare", name, (told, settings)), work, start=True
    )
    return found


def choose_method(key: str, default: str = "integrated_gradients") -> str:
    """One of METHODS."""
    linked(key, key, one_of(METHODS, "method"), default)
    return st.selectbox(
        "Method", list(METHODS), format_func=lambda name: METHODS[name].title, key=key, persist_state="session"
    )


def cost_note(asked: AttributionQuery, names: Sequence[str], count: int) -> None:
    """What the slow ones among the methods take here for so many maps each. Raises LabError."""
    parts = [f"{METHODS[name].title} {about(count * seconds(asked, name))}" for name in names if name in SLOW]
    if parts:
        st.caption(f"{', '.join(parts)} for {count} maps, once.")


def display_and_legend(of: str, scale: str = "Each map has its own scale.") -> Display:
    """How maps are drawn, folded, and what their colours say. of: whose class; scale: a sentence on what shares one."""
    with st.expander("How the maps are drawn", icon=":material/palette:"):
        display = display_controls()
    st.caption(
        f":blue[■] supports {of} · :orange[■] speaks against it · :green[■] maps that tell only how much. {scale} The badge is "
        "the score, insertion less deletion: :material/check: above a random map, an edge detector and a centre blob, "
        ":material/close: not."
    )
    return display


def common_scale(maps: Sequence[np.ndarray], display: Display) -> float:
    """Where the colours of maps that share a scale end."""
    return limit(np.stack(maps), display.percentile)


def map_card(
    values: np.ndarray,
    asked: AttributionQuery,
    display: Display,
    *,
    signed: bool,
    key: str,
    alt: str,
    words: str,
    scale: float | None = None,
) -> DeltaGenerator:
    """Draws a map (H, W) with words (Markdown) below it; returns the place for its score. scale: None for its own."""
    figure = overlay(
        values,
        asked.pixels,
        signed=signed,
        dark=dark(),
        opacity=display.opacity,
        percentile=display.percentile,
        smooth=display.smooth,
        scale=scale,
        side=MAP_PX,
    )
    with st.container(width=MAP_PX + 4, gap="xsmall"):
        show_figure(figure, width="content", key=key, buttons=(), alt=alt)
        st.markdown(words)
        return st.empty()


def fill_scores(status: DeltaGenerator, scores: Sequence[Score], *, short: bool = False) -> list[bool | None]:
    """Measure each map and put the result in its place; `status` says how far that is. short: without the verdict's words.

    Returns whether each map passes: only from such a map may a conclusion be drawn. None where it cannot be measured.
    """
    begun = time.monotonic()
    passes: list[bool | None] = [None] * len(scores)
    for number, (place, asked, found) in enumerate(scores):
        if time.monotonic() - begun > QUIET_S:
            status.progress(
                number / len(scores), text=f"Measuring how far to believe each map: {number} of {len(scores)}"
            )
        if found.blank:
            place.markdown(":gray-badge[:material/remove:]" + ("" if short else f"  \n:small[{BLANK}]"))
            continue
        try:
            curves, verdict = score_map(asked, found)
        except LabError as error:
            status.info(f"Maps cannot be scored here. {escape_markdown(error)}")
            return passes
        highest = max(curve.probabilities.max() for curve in (curves.insertion, curves.deletion))
        if highest < UNLIKELY:
            words = f"at most {percent(highest)} likely, so nothing to measure"
            place.markdown(":gray-badge[:material/remove:]" + ("" if short else f"  \n:small[{words}]"))
            continue
        passes[number] = not doubt(verdict)
        if short:
            colour, icon = ("green", "check") if passes[number] else ("orange", "close")
            place.markdown(f":{colour}-badge[:material/{icon}: {signed_number(verdict.score)}]")
        else:
            with place:
                badge(verdict)
    status.empty()
    return passes


def alike(one: np.ndarray, other: np.ndarray) -> float | None:
    """Rank correlation of two maps, -1..1; None where one is constant and has no order."""
    return None if min(np.ptp(one), np.ptp(other)) == 0 else rank_correlation(one, other)
