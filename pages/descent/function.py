"""The choice of a function, which two views share."""

from __future__ import annotations

import streamlit as st

from core.descent.functions import FUNCTIONS, OWN, SPANS, Landscape, landscape
from pages.shared.number_field import linked_number
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import number, one_of, short_text, write_short_text

COLUMNS = (8, 3)
"""Shares of the width that answer and controls have: beside each other they show on one screen."""
EXAMPLE = "sin(2*x) + 0.3*x**2 + 2*y**2"
MOST_CONDITION = 200
USUAL_CONDITION = 50
"""Steep enough for momentum to pay."""


def choose_function() -> Landscape:
    """Raises LabError for a formula that cannot be used."""
    names = [*FUNCTIONS, OWN]
    linked("f", "descent-function", one_of(names, "function"), names[0], options=names)
    name = st.selectbox(
        "Function",
        names,
        format_func=lambda item: FUNCTIONS[item].title if item in FUNCTIONS else "Your own formula",
        key="descent-function",
        persist_state="session",
    )
    condition, text, span = USUAL_CONDITION, "", 3.0
    if name == "quadratic":
        linked("k", "descent-condition", number(1, MOST_CONDITION, "the condition number"), USUAL_CONDITION)
        condition = st.slider("Condition number K", 1, MOST_CONDITION, key="descent-condition", persist_state="session")
    if name == OWN:
        linked("formula", "descent-formula", short_text, EXAMPLE, write=write_short_text)
        text = st.text_input(
            "Formula in x and y",
            key="descent-formula",
            help="+ - * / ** and sin, cos, tan, exp, log, sqrt, abs, tanh, pi, e. Its gradient is exact.",
            persist_state="session",
        )
        label = "Window: x and y from −s to s, s ="
        span = linked_number(label, *SPANS, 3.0, param="span", key="descent-span", step=0.5, format="%g")
    land = landscape(name, condition=condition, formula=text, span=span)
    if name in FUNCTIONS:
        st.caption(f"f = {escape_markdown(land.formula.text)}", help=FUNCTIONS[name].note)
    return land


def identity(land: Landscape) -> str:
    """What a start and rates belong to."""
    return f"{land.formula.text} {land.window}"
