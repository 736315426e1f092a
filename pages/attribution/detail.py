"""One map looked at closely: large, with raw values, what it says, its settings, and the evidence for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.attribution.figures import overlay
from core.attribution.methods.registry import METHODS, QUICK
from core.common.errors import LabError
from pages.attribution.cached import attributed
from pages.attribution.conclusion import judge
from pages.attribution.evidence import map_evidence
from pages.attribution.maps import Display, badge, display_controls, map_words, time_words
from pages.attribution.query import AttributionQuery
from pages.attribution.ready import scores_ready
from pages.attribution.settings import settings_form, settings_of
from pages.attribution.slow import slow_map
from pages.shared.elements import show_figure
from pages.shared.resources import dark
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution

PARAM, CHOSEN, BOX = "closer", "why-closer", "closer-box"
ALL = "all"
"""In place of a method: the grid of all of them."""
LARGE_PX = 448


def chosen() -> str | None:
    """The method that is looked at, ALL for the grid, None for the answer; an address that names one wins once."""
    linked(PARAM, CHOSEN, _method, None)
    found: str | None = st.session_state[CHOSEN]
    return found


def _method(name: str) -> str:
    if name != ALL and name not in METHODS:
        raise LabError(f"The link names {name[:60]}, which is not an attribution method: here is the answer.")
    return name


def look_closer(name: str | None) -> None:
    """Show this method alone, or ALL; None shows the answer again."""
    st.session_state[CHOSEN] = name


def closer_look(asked: AttributionQuery, name: str) -> None:
    """Raises LabError."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.button("All maps", key="all-maps", icon=":material/arrow_back:", on_click=look_closer, args=(ALL,))
        st.session_state[BOX] = name
        st.selectbox(
            "Method",
            list(METHODS),
            format_func=lambda option: METHODS[option].title,
            key=BOX,
            on_change=lambda: look_closer(st.session_state[BOX]),
            width=240,
        )
    st.markdown(f"#### {escape_markdown(METHODS[name].title)}")
    found = None
    try:
        if name in QUICK:
            found = attributed(asked, name, settings_of(name, asked.reference))
        else:
            found = slow_map(asked, name)
    except LabError as error:
        show_error(error)
    if found and not scores_ready(asked, (name,)):
        found = None
    if found:
        words, scored = judge(asked, found)
        st.markdown(words)
        if scored:
            badge(scored[1], scored[0].deletion.probabilities[0])
        place, display = st.container(), display_controls()
        with place:
            _large(asked, found, display)
    _about(name)
    settings_form(name, asked.reference)
    if found:
        map_evidence(asked, found, scored, words, display)


def _about(name: str) -> None:
    kind = METHODS[name]
    title, address = kind.paper
    st.markdown(
        f"**What am I looking at?**\n\n{kind.summary} {kind.how_to_read} {kind.caveat}\n\n[{escape_markdown(title)}]({address})"
    )


def _large(asked: AttributionQuery, found: Attribution, display: Display) -> None:
    method = found.method
    figure = overlay(
        found.pixels,
        asked.pixels,
        signed=method.signed,
        dark=dark(),
        opacity=display.opacity,
        percentile=display.percentile,
        smooth=display.smooth,
        side=LARGE_PX,
        bar=map_words(method),
        zoom=True,
    )
    figure.update_layout(width=None)  # as wide as its place, which on a phone is narrower
    with st.container(width=LARGE_PX):
        show_figure(
            figure, key="large-map", buttons=(), alt=f"{method.title}: map of why {asked.label}. {method.how_to_read}"
        )
    said = [f"Took {time_words(found.milliseconds)}."]
    if method.uses_baseline:
        said.append(f"Baseline: {found.baseline}.")
    if method.channels:
        said.append(
            "A value is the sum over the pixel's three colours."
            if method.signed
            else "A value is the largest of the pixel's three colours."
        )
    if method.random:
        said.append(f"Drawn with seed {found.seed}.")
    st.caption("Drag to zoom, double-click to go back; the raw value shows where you point. " + " ".join(said))
