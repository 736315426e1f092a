"""The settings of a recipe's step: a widget for each field of its dataclass, and the step that they make."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.common.values import read_json
from core.compression.steps import CALIBRATIONS, IMPORTANCES, SCHEDULES, SCOPES, Step, name_of, read_step
from core.models import MODELS
from core.training.config import field_docs

FIELD_PX = 148
LABELS = {
    "amount": "Share taken out",
    "scope": "Least of",
    "importance": "Importance by",
    "epochs": "Epochs",
    "lr": "Learning rate",
    "schedule": "Training schedule",
    "alpha": "Teacher's share",
    "temperature": "Temperature",
    "student": "Student",
    "student_config": "Its settings (JSON)",
    "features": "Feature matching",
    "seeds": "Seeds",
    "energy": "Energy kept",
    "bits": "Bits",
    "images": "Images to calibrate",
    "method": "Ranges by",
}
"""What the form calls the settings of a step."""
OPTIONS = {"scope": SCOPES, "importance": IMPORTANCES, "method": CALIBRATIONS, "schedule": SCHEDULES}
WORDS = {"global": "whole network", "layer": "each layer", "bn_scale": "batch-norm scale", "own": "the original's"}
"""What the form says for some of them."""
INCREMENTS = {
    "amount": 0.05,
    "epochs": 0.5,
    "lr": 0.005,
    "alpha": 0.1,
    "temperature": 1.0,
    "features": 0.5,
    "energy": 0.05,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A step in the form. number: of its widgets, never used twice."""

    number: int
    step: Step


def setting(task: str, row: Row, name: str) -> None:
    """The widget of one setting."""
    value, meaning = getattr(row.step, name), _docs(type(row.step)).get(name)
    shared: dict[str, Any] = {
        "label": LABELS[name],
        "key": _key(row, name),
        "width": FIELD_PX,
        "help": meaning,
        "persist_state": "session",
    }
    options = OPTIONS.get(name) or tuple(key for key, entry in MODELS.items() if entry.task == task)
    if isinstance(value, dict):
        st.text_input(value=json.dumps(value), **shared)
    elif isinstance(value, str):
        words = {key: entry.title for key, entry in MODELS.items()} | WORDS
        st.selectbox(options=options, index=options.index(value), format_func=lambda key: words.get(key, key), **shared)
    elif isinstance(value, int):
        st.number_input(value=value, step=64 if name == "images" else 1, **shared)
    else:
        st.number_input(value=value, step=INCREMENTS[name], format="%g", **shared)


def step_of(row: Row) -> Step:
    """The step with its settings as typed. Raises LabError for one that is not valid."""
    given: dict[str, Any] = {"step": name_of(row.step)}
    for field in dataclasses.fields(row.step):
        before = getattr(row.step, field.name)
        value = st.session_state.get(_key(row, field.name), before)
        if isinstance(before, dict) and isinstance(value, str):
            try:
                value = read_json(value or "{}")
            except ValueError as error:
                raise LabError(
                    'The settings of the student are no JSON: write them as {"widths": [32, 64]}, or {} for its defaults.'
                ) from error
        given[field.name] = value
    return read_step(given)


@cache
def _docs(kind: type[Step]) -> dict[str, str]:
    """The sentence under each setting, inherited ones too."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        found |= field_docs(base)
    return found


def _key(row: Row, field: str) -> str:
    return f"step-{row.number}-{field}"
