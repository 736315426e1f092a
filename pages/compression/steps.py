"""The steps of a recipe, to be put together: begun from a preset, then added, moved, taken out, and set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

import streamlit as st

from core.common.errors import LabError
from core.compression.recipe import MOST_STEPS, PRESETS
from core.compression.steps import STEPS, Distill, Int8, Step
from core.models import MODELS
from pages.compression.fields import Row, step_fields, step_of
from pages.shared.text import escape_markdown
from pages.shared.url import linked

CARD_PX = 240
"""Two beside each other in the wide column at 1280."""


def presets_of(task: str) -> list[str]:
    """Names of the presets for a task."""
    return [name for name, preset in PRESETS.items() if preset.task == task]


def preset_key(task: str) -> str:
    """Under which the session holds the preset that was chosen last."""
    return f"recipe-preset-{task}"


def preset_cards(task: str, parameters: int) -> None:
    """What to start from, a card each; another choice puts its steps in the place of those that are there.

    parameters: of the original.
    """
    names, key = presets_of(task), preset_key(task)
    changed = linked("preset", key, partial(_known, names), names[0], keep=True)
    if changed or _rows_key(task) not in st.session_state:
        _load(task, st.session_state[key])
    with st.container(horizontal=True, gap="small"):
        for name in names:
            chosen = name == st.session_state[key]
            with st.container(border=True, width=CARD_PX, gap="xsmall"):
                st.button(
                    PRESETS[name].title,
                    key=f"preset-{name}",
                    type="primary" if chosen else "secondary",
                    icon=":material/check:" if chosen else None,
                    width="stretch",
                    on_click=_load,
                    args=(task, name),
                )
                larger = "" if _shrinks(name, parameters) else " It is no smaller than this one."
                st.caption(escape_markdown(f"{PRESETS[name].about}{larger}"))


def _shrinks(preset: str, parameters: int) -> bool:
    students = [step.student for step in PRESETS[preset].steps if isinstance(step, Distill)]
    return all(MODELS[student].parameters < parameters for student in students)


def _known(names: list[str], name: str) -> str:
    """A preset that the address names. Raises LabError for another."""
    if name not in PRESETS:
        raise LabError(f"There is no preset {name[:40]!r}: choose a card below.")
    return name if name in names else names[0]


def steps_form(task: str) -> list[Row]:
    """Show the steps; returns them as they stand, to be read by `chosen_steps`."""
    rows: list[Row] = st.session_state[_rows_key(task)]
    for place, row in enumerate(rows):
        _one(task, rows, place, row)
    if len(rows) < MOST_STEPS:
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            st.selectbox(
                "One more step",
                [name for name, kind in STEPS.items() if task in kind.tasks],
                format_func=lambda name: STEPS[name].title,
                key=f"recipe-more-{task}",
                persist_state="session",
            )
            st.button("Add", key="recipe-add", icon=":material/add:", on_click=_add, args=(task,))
    return rows


def chosen_steps(rows: list[Row]) -> tuple[Step, ...]:
    """The steps with their settings as typed. Raises LabError for a setting that is not valid."""
    return tuple(step_of(row) for row in rows)


def preset_name(task: str, steps: tuple[Step, ...]) -> str:
    """The preset that these steps are; `custom` for none."""
    return next((name for name in presets_of(task) if PRESETS[name].steps == steps), "custom")


def _one(task: str, rows: list[Row], place: int, row: Row) -> None:
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{place + 1}. {row.step.title}**", width="stretch")
            for name, icon, words, off in (
                ("up", ":material/arrow_upward:", "Earlier", place == 0),
                ("down", ":material/arrow_downward:", "Later", place == len(rows) - 1),
                ("out", ":material/close:", "Remove", False),
            ):
                st.button(
                    words,
                    key=f"recipe-{name}-{row.number}",
                    icon=icon,
                    type="tertiary",
                    disabled=off,
                    on_click=_move,
                    args=(task, place, name),
                )
        st.caption(_linked(row.step.about))
        if type(row.step).model_fields and not (task == "text" and isinstance(row.step, Int8)):  # those are of images
            with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
                step_fields(task, row)


def _linked(about: str) -> str:
    """With its papers as links."""
    return re.sub(r"arXiv\\:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", escape_markdown(about))


def _rows_key(task: str) -> str:
    return f"recipe-steps-{task}"


def _new(step: Step) -> Row:
    st.session_state["recipe-number"] = number = st.session_state.get("recipe-number", 0) + 1
    return Row(number, step)


def fill_steps(task: str, steps: Iterable[Step]) -> None:
    """Put steps into the form, before it is drawn."""
    st.session_state[_rows_key(task)] = [_new(step) for step in steps]


def _load(task: str, name: str) -> None:
    st.session_state[preset_key(task)] = name
    fill_steps(task, PRESETS[name].steps)


def _add(task: str) -> None:
    kind = STEPS[st.session_state[f"recipe-more-{task}"]]
    rows: list[Row] = st.session_state[_rows_key(task)]
    usual = (step for preset in presets_of(task) for step in PRESETS[preset].steps if type(step) is kind)
    step = next(usual, None) or kind()  # as a preset has it: the default student of a text is no image classifier
    st.session_state[_rows_key(task)] = [*rows, _new(step)]


def _move(task: str, place: int, how: str) -> None:
    rows: list[Row] = list(st.session_state[_rows_key(task)])
    row = rows.pop(place)
    if how != "out":
        rows.insert(place + (1 if how == "down" else -1), row)
    st.session_state[_rows_key(task)] = rows
