"""The settings of a form that differ from what it begins with, in the address: `?set={"epochs":5,"lr":0.05}`."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.common.settings import Settings
from core.common.values import read_json
from pages.shared.copy_link import not_in_link
from pages.shared.url import linked, warn

PARAM = "set"
MOST_CHARACTERS = 800
"""Of the settings as JSON: servers and messengers cut longer addresses."""
MOST_NAMES = 5
"""Settings that a warning names."""
WHOLE = 1e15
"""Floats below this that are whole numbers are written as such."""
Changes = Mapping[str, Any]
Shows = Callable[[Any], bool]
"""Whether a form can show such settings."""


def linked_settings(
    key: str,
    begins: str,
    begin: Settings,
    names: Collection[str],
    fill: Callable[[Changes], None],
    *,
    shows: Shows,
    keep: bool | None = None,
) -> None:
    """Before the form: fill it where the address says another thing than the form does. `keep_settings` follows the form.

    key: under which the session holds the changes. begins: a name for what the form begins with, such as that of a recipe;
    begin: its settings. names: the fields that the form has, each before those that depend on it. fill: puts changes into the
    form, and what it begins with elsewhere. shows: whether the form can show such settings. keep: as in `linked`.
    """

    def parse(text: str) -> tuple[str, Changes]:
        changes, problem = read_changes(text, begin, names, shows)
        st.session_state[f"{key}-problem"] = problem, None
        return begins, changes

    state = st.session_state
    came, known = (state["visit"], state.get("entered", 0)), key in state
    changed = linked(PARAM, key, parse, (begins, {}), write=lambda held: to_text(held[1]), keep=keep)
    of, changes = state[key]
    if of != begins:  # of what the form began with before
        changes = {}
    if changed or (known and state.get(f"{key}-came") != came):  # none yet where the run before was cut short
        fill(changes)
    state[key], state[f"{key}-came"] = (begins, changes), came


def keep_settings(key: str, begins: str, changes: Changes) -> None:
    """After the form: the changes that it holds, which the address follows."""
    state = st.session_state
    state[key] = begins, dict(changes)
    problem, beside = state.get(f"{key}-problem", ("", None))
    if problem and beside in (None, changes):
        state[f"{key}-problem"] = problem, changes
        warn(problem)
    else:  # something else was chosen
        state.pop(f"{key}-problem", None)
    if changes and to_text(changes) is None:
        not_in_link(f"The changed settings are not in the link: they take more than {MOST_CHARACTERS} characters.")


def to_text(changes: Changes) -> str | None:
    """Changes as an address has them; None where there are none, or too many."""
    text = json.dumps({name: _plain(value) for name, value in changes.items()}, separators=(",", ":"))
    return text if changes and len(text) <= MOST_CHARACTERS else None


def read_changes(text: str, begin: Settings, names: Collection[str], shows: Shows) -> tuple[dict[str, Any], str]:
    """The changes that an address names, and a sentence where it names what cannot be used."""
    try:
        given = read_json(text) if len(text) <= MOST_CHARACTERS else None
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return {}, "The link's settings cannot be read: the form keeps the usual values."
    changes = valid_changes(given, begin, names, shows)
    refused = [repr(name[:30]) for name in given if name not in changes]
    if not refused:
        return changes, ""
    more = f" and {len(refused) - MOST_NAMES} more" if len(refused) > MOST_NAMES else ""
    shown = f"{', '.join(refused[:MOST_NAMES])}{more}"
    return changes, f"The form cannot take {shown} from the link: it keeps the usual values."


def valid_changes(given: Changes, begin: Settings, names: Collection[str], shows: Shows) -> dict[str, Any]:
    """Those of the given values that go together, as changes of `begin`."""
    changes: dict[str, Any] = {}
    for name in (name for name in names if name in given):
        try:
            config = begin.replace(**changes | {name: given[name]})
        except LabError:
            continue
        if shows(config):
            changes[name] = config.to_dict()[name]
    return changes


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE else value
