"""The settings of a recipe's step: a widget for each field of its model, and the step that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.common.values import read_json
from core.compression.steps import Step, name_of, read_step
from core.models import DESIGNS
from pages.shared.settings_form import settings_form

FIELD_PX = 148
LABELS = {
    "amount": "Amount",
    "scope": "Scope",
    "importance": "Importance by",
    "epochs": "Epochs",
    "lr": "Learning rate",
    "schedule": "Training schedule",
    "alpha": "Teacher's share",
    "temperature": "Temperature",
    "student": "Student",
    "student_config": "Its settings (JSON)",
    "seeds": "Seeds",
    "energy": "Energy kept",
    "bits": "Bits",
    "images": "Images to calibrate",
}
"""What the form calls the settings of a step."""
WORDS = {"global": "whole network", "layer": "each layer", "bn_scale": "batch-norm scale", "own": "the original's"}
"""What the form says for some of them."""
INCREMENTS = {
    "amount": 0.05,
    "epochs": 0.5,
    "lr": 0.005,
    "alpha": 0.1,
    "temperature": 1.0,
    "energy": 0.05,
    "images": 64,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A step in the form. number: of its widgets, never used twice."""

    number: int
    step: Step


def step_fields(task: str, row: Row) -> None:
    """The widgets of a step's settings, what matters most first."""
    settings_form(
        type(row.step),
        sorted(type(row.step).model_fields, key=lambda name: name != "amount"),
        row.step.to_dict(),
        _key(row, "{}"),
        labels=LABELS,
        options={"student": tuple(name for name, entry in DESIGNS.items() if entry.task == task)},
        words=WORDS | {name: entry.title for name, entry in DESIGNS.items()},
        increments=INCREMENTS,
        width=FIELD_PX,
    )


def step_of(row: Row) -> Step:
    """The step with its settings as typed. Raises LabError for one that is not valid."""
    given: dict[str, Any] = {"step": name_of(row.step)}
    for name in type(row.step).model_fields:
        before = getattr(row.step, name)
        value = st.session_state.get(_key(row, name), before)
        if isinstance(before, dict) and isinstance(value, str):
            try:
                value = read_json(value or "{}")
            except ValueError as error:
                raise LabError(
                    'The settings of the student are no JSON: write them as {"widths": [32, 64]}, or {} for its defaults.'
                ) from error
        given[name] = value
    return read_step(given)


def _key(row: Row, field: str) -> str:
    return f"step-{row.number}-{field}"
