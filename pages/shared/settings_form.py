"""A form out of a configuration: one widget a field, by its type, choices and description."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import streamlit as st

from core.common.settings import Settings, choices, field_help, fields_of

FIELD_PX = 128
"""Two beside each other in the narrow column and on a phone, six above an open run."""


def label_of(name: str, labels: Mapping[str, str]) -> str:
    """What a form calls a field: its label, or its name in words."""
    return labels.get(name, name.replace("_", " ").capitalize())


def settings_form(
    kind: type[Settings],
    names: Iterable[str],
    values: Mapping[str, Any],
    key: str,
    *,
    labels: Mapping[str, str],
    options: Mapping[str, Sequence[Any]] | None = None,
    words: Mapping[str, str] | None = None,
    increments: Mapping[str, float] | None = None,
    disabled: Callable[[str, Mapping[str, Any]], bool] | None = None,
    on_change: Callable[[str], None] | None = None,
    width: int | Literal["stretch"] = FIELD_PX,
) -> dict[str, Any]:
    """Show a widget for each of the named fields; returns what they hold, not checked: None for an empty number.

    values: what the widgets begin with. key: of the widgets, with `{}` for the field's name. options: choices that the
    configuration does not name itself. words: what the form says for a choice. increments: what plus and minus add.
    disabled: whether a field does nothing beside the values of those before it; it keeps the value that it begins with.
    on_change: told the key of a widget that a person has changed.
    """
    found: dict[str, Any] = {}
    fields = fields_of(kind)
    for name in names:
        info, value = fields[name], values[name]
        off = disabled is not None and disabled(name, found)
        shared: dict[str, Any] = {
            "label": label_of(name, labels),
            "key": key.format(name),
            "help": field_help(info),
            "disabled": off,
            "width": width,
            "persist_state": "session",
        }
        if on_change:
            shared |= {"on_change": on_change, "args": (shared["key"],)}
        offered = list((options or {}).get(name) or choices(info))
        given: Any
        if offered:
            given = st.selectbox(
                options=offered,
                index=offered.index(value),
                format_func=lambda item: (words or {}).get(item, item),
                **shared,
            )
        elif info.annotation is bool:
            given = st.checkbox(value=value, **shared)
        elif isinstance(value, dict):
            given = st.text_input(value=json.dumps(value), **shared)
        elif info.annotation is str:
            given = st.text_input(value=value, **shared)
        elif info.annotation is int:
            given = st.number_input(value=value, step=int((increments or {}).get(name, 1)), **shared)
        else:
            step = (increments or {}).get(name) or _increment(value)
            given = st.number_input(value=float(value), step=step, format="%g", **shared)
        found[name] = value if off else given  # what cannot be changed cannot be wrong
    return found


def _increment(value: float) -> float:
    """A tenth of the value's order of magnitude."""
    return float(10.0 ** (math.floor(math.log10(abs(value))) - 1)) if value else 0.01
