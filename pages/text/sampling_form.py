"""Prompt and settings of a piece of writing."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.checkpoints.store import Card
from core.common.errors import LabError
from core.common.settings import field_help, fields_of
from core.inference.sampling import SamplingConfig, runs_in_int8
from pages.shared.settings_form import settings_form
from pages.shared.text import label_error, show_error

FIRST_PROMPT = "ROMEO:\n"
"""What stands in the box of a first visit."""
PROMPT = "prompt"
DEFAULT = SamplingConfig()
LABELS = {
    "temperature": "Temperature",
    "length": "Characters",
    "seed": "Seed",
    "top_k": "Top-k",
    "no_repeat": "No repeats of",
    "top_p": "Top-p",
}


def prompt_box() -> str:
    """The prompt as it was typed."""
    text = st.text_area(
        "Prompt",
        value=FIRST_PROMPT,
        key=PROMPT,
        height=110,
        persist_state="session",
        help="The text that the model goes on from. It was trained on plays: a name in capitals and a colon begin a speech.",
    )
    return text or ""


def chosen_precision(key: str, card: Card) -> str:
    """What the form's toggle says: `int8` or `float32`."""
    return "int8" if st.session_state.get(_toggle_key(key, card), runs_in_int8(card)) else "float32"


def sampling_form(key: str, card: Card) -> SamplingConfig | None:
    """The settings, checked; None, with a sentence on the page, where one is not valid. key: of the widgets. card: of what
    shall write."""
    values: dict[str, Any] = {
        "temperature": st.slider(
            LABELS["temperature"],
            0.0,
            2.0,
            DEFAULT.temperature,
            0.05,
            key=f"{key}-temperature",
            help=field_help(fields_of(SamplingConfig)["temperature"]),
            persist_state="session",
        )
    }
    with st.expander("More settings"):
        with st.container(horizontal=True, gap="small"):
            values |= settings_form(
                SamplingConfig,
                ("length", "seed", "top_k", "no_repeat", "top_p"),
                DEFAULT.to_dict(),
                f"{key}-{{}}",
                labels=LABELS,
                increments={"length": 100, "top_p": 0.05},
            )
        st.segmented_control(
            "Pace",
            ("To read along", "As fast as it can"),
            default="To read along",
            required=True,
            key=f"{key}-pace",
            persist_state="session",
        )
        st.toggle(
            "Weights in 8 bits",
            value=runs_in_int8(card),
            key=_toggle_key(key, card),
            help="Recurrent models on a processor: a quarter of the memory to read, and nearly the same probabilities.",
            persist_state="session",
        )
    try:
        return SamplingConfig(**values)
    except LabError as error:
        show_error(label_error(error, LABELS))
        return None


def _toggle_key(key: str, card: Card) -> str:
    """Checkpoints that are stored to run in 8 bits have a toggle of their own, which is on until it is turned off."""
    return f"{key}-int8-stored" if runs_in_int8(card) else f"{key}-int8"
