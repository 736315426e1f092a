"""The steps of a pipeline as rows of controls. Views share one pipeline; the address carries it."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.training.augmentation import MOST_STEPS, TRANSFORMS, Pipeline, Step, check_pipeline, parse_pipeline
from pages.shared.text import show_error
from pages.shared.url import give, linked
from pages.shared.url_values import short_text

USUAL = "flip@0.5 crop:0.25 rotate:0.25@0.5"
"""What a first visit sees."""
NEW = Step(transform="brightness", strength=0.4)
TEXT, ROWS, NEXT = "augment-pipeline", "augment-rows", "augment-next"
FIELDS = ("transform", "strength", "probability")


def pipeline_form() -> Pipeline | None:
    """Draw the controls; None, with a sentence on the page, while there are no steps."""
    state = st.session_state
    if linked("pipeline", TEXT, _read, USUAL) or ROWS not in state:
        _fill(state[TEXT])
    st.markdown("**Steps, in this order**")
    steps = [_row(row, place, len(state[ROWS])) for place, row in enumerate(state[ROWS])]
    st.button("Add a step", key="augment-add", icon=":material/add:", on_click=_add, disabled=len(steps) >= MOST_STEPS)
    state[TEXT] = " ".join(step.spec for step in steps)
    try:
        return parse_pipeline(state[TEXT])
    except LabError as error:
        show_error(error)
        return None


def set_pipeline(text: str) -> None:
    """Another pipeline takes its place."""
    give(TEXT, text)
    st.session_state.pop(ROWS, None)


def _read(text: str) -> str:
    return check_pipeline(short_text(text))


def _key(field: str, row: int) -> str:
    return f"augment-{field}-{row}"


def _fill(text: str) -> None:
    steps = parse_pipeline(text).steps if text else ()
    st.session_state[ROWS] = []
    for step in steps:
        _append(step)


def _append(step: Step) -> None:
    state = st.session_state
    row = state.get(NEXT, 0)
    state[NEXT] = row + 1
    state[ROWS] = [*state[ROWS], row]
    for field in FIELDS:
        give(_key(field, row), getattr(step, field))


def _row(row: int, place: int, count: int) -> Step:
    values: dict[str, Any] = {}
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
            values["transform"] = st.selectbox(
                f"Step {place + 1}",
                list(TRANSFORMS),
                format_func=lambda name: TRANSFORMS[name].title,
                key=_key("transform", row),
                persist_state="session",
            )
            for name, icon, off, click in (
                ("Earlier", "arrow_upward", place == 0, partial(_move, row, -1)),
                ("Later", "arrow_downward", place == count - 1, partial(_move, row, 1)),
                ("Remove", "close", False, partial(_remove, row)),
            ):
                key = _key(name.lower(), row)
                st.button("", key=key, icon=f":material/{icon}:", help=name, on_click=click, disabled=off)
        kind = TRANSFORMS[values["transform"]]
        left, right = st.columns(2)
        if kind.has_strength:
            with left:
                values["strength"] = st.slider(
                    "Strength", 0.0, 1.0, step=0.05, key=_key("strength", row), help=kind.scale, persist_state="session"
                )
        with right if kind.has_strength else left:
            values["probability"] = st.slider(
                "Probability", 0.0, 1.0, step=0.05, key=_key("probability", row), persist_state="session"
            )
    return Step(**values)


def _add() -> None:
    _append(NEW)


def _remove(row: int) -> None:
    st.session_state[ROWS] = [other for other in st.session_state[ROWS] if other != row]


def _move(row: int, by: int) -> None:
    rows = list(st.session_state[ROWS])
    place = rows.index(row)
    rows[place], rows[place + by] = rows[place + by], rows[place]
    st.session_state[ROWS] = rows
