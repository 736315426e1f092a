"""Let a map choose what is covered: the deletion curve, a step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.attribution.evidence.controls import edges, random_map
from core.attribution.evidence.masking import most_important
from core.attribution.methods.registry import METHODS, get_method, quick_methods
from core.common.errors import LabError
from pages.attribution.cached import attributed
from pages.attribution.cover.steps import Covering
from pages.attribution.query import AttributionQuery
from pages.attribution.settings import settings_of
from pages.shared.text import show_error
from pages.shared.url import linked
from pages.shared.url_values import one_of

if TYPE_CHECKING:
    from core.attribution.explainer import Explainer

SHARES = (10, 25)
"""Percent of the pixels that are covered at a press."""
EDGES, CHANCE = "edges", "random"
KNOW_NOTHING = {EDGES: "Edges (a control)", CHANCE: "Random (a control)"}


def let_a_map_cover(asked: AttributionQuery, covering: Covering, explainer: Explainer) -> None:
    """Choose a map, and cover the pixels that it finds most important."""
    names = [
        *(name for name in quick_methods(explainer.card.model) if not explainer.refusal(get_method(name))),
        *KNOW_NOTHING,
    ]
    linked("map", "cover-map", one_of(names, "map"), names[0])
    if st.session_state["cover-map"] not in names:
        st.session_state["cover-map"] = names[0]
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        name = st.selectbox(
            "Let a map cover it",
            names,
            format_func=lambda name: KNOW_NOTHING.get(name) or METHODS[name].title,
            key="cover-map",
            persist_state="session",
            width=240,
            help="The pixels that it says matter most go first, as for the deletion curve. A map that is right makes the "
            "probability fall faster than edges or chance do.",
        )
        pressed = [share for share in SHARES if st.button(f"Cover the top {share}%", key=f"cover-top-{share}")]
    for share in pressed:
        try:
            covering.set(most_important(_map(asked, covering, name), share / 100))
        except LabError as error:
            show_error(error)


def _map(asked: AttributionQuery, covering: Covering, name: str) -> np.ndarray:
    """(H, W): higher goes first. Raises LabError for a map that is zero everywhere: it would choose at random."""
    if name == CHANCE:
        return random_map(asked.pixels.shape[0], seed=covering.steps[-1])  # another one each time
    if name == EDGES:
        values = edges(asked.pixels)
    else:
        values = attributed(asked, name, settings_of(name, asked.reference)).magnitude
    if not values.any():
        raise LabError("This map is zero everywhere, so it has no top pixels: choose another one.")
    return values
