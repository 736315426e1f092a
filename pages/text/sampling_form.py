"""Prompt and settings of a piece of writing."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.checkpoints.store import Card
from core.common.errors import LabError
from core.common.settings import field_help, fields_of, valid_values
from core.inference.sampling import SamplingConfig, runs_in_int8
from pages.shared.copy_link import not_in_link
from pages.shared.settings_form import settings_form
from pages.shared.text import label_error, show_error
from pages.shared.url import linked, linked_flag
from pages.shared.url_values import TEXT_CHARACTERS, number, one_of, short_text, write_number, write_short_text

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

PACES = {"reading": "To read along", "fast": "As fast as it can"}
PARAMS = ("prompt", "int8", "second-temperature", *LABELS)
"""What of a text stands in an address."""


def prompt_box() -> str:
    """The prompt as it was typed."""
    linked("prompt", PROMPT, short_text, FIRST_PROMPT, write=write_short_text)
    text = st.text_area(
        "Prompt",
        key=PROMPT,
        height=110,
        persist_state="session",
        help="The text that the model goes on from. It was trained on plays: a name in capitals and a colon begin a speech.",
    )
    if len(text or "") > TEXT_CHARACTERS:
        not_in_link(f"The prompt is not in the link: it has more than {TEXT_CHARACTERS} characters.")
    return text or ""


def linked_setting(name: str, key: str, usual: float | None = None) -> None:
    """`linked` for a widget of one of the settings. usual: where a form begins with another value than the settings."""
    info = fields_of(SamplingConfig)[name]
    usual = getattr(DEFAULT, name) if usual is None else usual

    def parse(text: str) -> Any:
        try:
            value = type(usual)(text[:30])
        except ValueError:
            value = text  # which the settings refuse
        try:
            return getattr(SamplingConfig(**{name: value}), name)
        except LabError:
            valid = valid_values(info.annotation, info.metadata)
            raise LabError(
                f"The link says {text[:30]!r} for {LABELS[name].lower()}, which is not {valid}: the default is used."
            ) from None

    linked(name, key, parse, usual, write=write_number)


def chosen_precision(key: str, card: Card) -> str:
    """What the form's toggle says: `int8` or `float32`."""
    return "int8" if st.session_state.get(_toggle_key(key, card), runs_in_int8(card)) else "float32"


def sampling_form(key: str, card: Card) -> SamplingConfig | None:
    """The settings, checked; None, with a sentence on the page, where one is not valid. key: of the widgets. card: of what
    shall write."""
    values: dict[str, Any] = {"temperature": temperature_slider(LABELS["temperature"], f"{key}-temperature")}
    names = ("length", "seed", "top_k", "no_repeat", "top_p")
    for name in names:
        linked_setting(name, f"{key}-{name}")
    with st.expander("More settings"):
        with st.container(horizontal=True, gap="small"):
            values |= settings_form(
                SamplingConfig,
                names,
                DEFAULT.to_dict(),
                f"{key}-{{}}",
                labels=LABELS,
                increments={"length": 100, "top_p": 0.05},
            )
        linked("pace", f"{key}-pace", one_of(PACES, "pace"), "reading")
        st.segmented_control(
            "Pace",
            list(PACES),
            format_func=PACES.__getitem__,
            required=True,
            key=f"{key}-pace",
            persist_state="session",
        )
        linked_flag("int8", _toggle_key(key, card), runs_in_int8(card))
        st.toggle(
            "Weights in 8 bits",
            key=_toggle_key(key, card),
            help="Recurrent models on a processor: a quarter of the memory to read, and nearly the same probabilities.",
            persist_state="session",
        )
    try:
        return SamplingConfig(**values)
    except LabError as error:
        show_error(label_error(error, LABELS))
        return None


def temperature_slider(label: str, key: str, param: str = "temperature") -> float:
    """Narrower than the setting may be: from a link too."""
    linked(param, key, number(0, 2, "the temperature", float), DEFAULT.temperature, write=write_number)
    return st.slider(
        label,
        0.0,
        2.0,
        step=0.05,
        key=key,
        help=field_help(fields_of(SamplingConfig)["temperature"]),
        persist_state="session",
    )


def _toggle_key(key: str, card: Card) -> str:
    """Checkpoints that are stored to run in 8 bits have a toggle of their own, which is on until it is turned off."""
    return f"{key}-int8-stored" if runs_in_int8(card) else f"{key}-int8"
