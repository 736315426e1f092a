"""Settings of attribution methods, kept for the session: the cards and the closer look use the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from core.attribution.methods.registry import METHODS, get_method
from core.attribution.methods.superpixels import SEGMENTATIONS
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from pages.shared.resources import loaded
from pages.shared.text import label_error, show_error
from pages.shared.url import linked

LABELS = {
    "steps": "Steps on the way",
    "max_gap": "Completeness gap to reach",
    "samples": "Samples",
    "noise": "Noise",
    "window": "Side of the square (pixels)",
    "stride": "Moved by (pixels)",
    "superpixels": "Superpixels",
    "cells": "About so many superpixels",
    "layer": "Layer",
}
WORDS = {"slic": "along the colours (SLIC)", "grid": "squares"}
KEPT = "why-settings"
MOST_SETTINGS = 30
"""Read from a link."""


def settings_link() -> None:
    """`?settings=lime.samples:50,occlusion.window:3`: what is not as usual."""
    if linked("settings", KEPT, _read_settings, {}, write=_write_settings):
        for name in METHODS:
            _show(name, st.session_state[KEPT].get(name))


def _read_settings(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part in text.split(",")[:MOST_SETTINGS]:
        name, _, setting = part.partition(".")
        field, _, value = setting.partition(":")
        usual = get_method(name).settings() if name in METHODS else {}
        if field not in usual:
            raise LabError(f"The link sets {part[:60]!r}, which no method here knows: the usual settings are used.")
        try:
            found.setdefault(name, {})[field] = type(usual[field])(value)
        except ValueError:
            raise LabError(f"The link sets {part[:60]!r}, which is no number: the usual settings are used.") from None
    for name, settings in found.items():
        found[name] = get_method(name, settings).settings()  # raises LabError
    return found


def _write_settings(kept: dict[str, dict[str, Any]]) -> str | None:
    parts = []
    for name, settings in kept.items():
        usual = get_method(name).settings()
        parts += [f"{name}.{field}:{value}" for field, value in settings.items() if value != usual[field]]
    return ",".join(parts) or None


def settings_of(name: str, reference: CheckpointRef) -> dict[str, Any]:
    """What was chosen for a method, but for a layer that this network does not have. Raises LabError."""
    found = dict(st.session_state.get(KEPT, {}).get(name, {}))
    if found.get("layer") and found["layer"] not in _layers(reference):
        del found["layer"]
    return found


def settings_words(name: str, settings: dict[str, Any]) -> str:
    """What differs from the defaults, in words; empty where nothing does."""
    default = get_method(name).settings()
    return ", ".join(
        f"{LABELS[field].lower()}: {WORDS.get(str(value), value)}"
        for field, value in settings.items()
        if value != default[field]
    )


def settings_form(name: str, reference: CheckpointRef) -> None:
    """Folded; draws nothing for a method without settings. Raises LabError for a checkpoint that cannot be read."""
    fields = dataclasses.fields(METHODS[name])
    if not fields:
        return
    now = get_method(name, settings_of(name, reference)).settings()
    with (
        st.expander("Settings", icon=":material/tune:", key=f"settings-{name}"),
        st.form(f"settings-form-{name}", border=False),
    ):
        chosen = {
            field.name: _field(name, field.name, now[field.name], _options(field.name, reference)) for field in fields
        }
        with st.container(horizontal=True, gap="small"):
            apply = st.form_submit_button("Apply", type="primary", key=f"apply-{name}")
            st.form_submit_button("Defaults", key=f"defaults-{name}", on_click=_reset, args=(name,))
    if apply:
        try:
            get_method(name, chosen)
        except LabError as error:
            show_error(label_error(error, LABELS))
            return
        _keep(name, chosen)
        st.rerun()


def _field(name: str, field: str, value: Any, options: tuple[str, ...]) -> Any:
    key = f"setting-{name}-{field}"
    if options:
        st.session_state.setdefault(key, value)
        if st.session_state[key] not in options:
            st.session_state[key] = value
        return st.selectbox(
            LABELS[field],
            options,
            format_func=lambda option: WORDS.get(option, option or "the last convolution"),
            key=key,
        )
    whole = isinstance(value, int)
    return st.number_input(
        LABELS[field], value=value, step=1 if whole else 0.01, format="%d" if whole else "%.2f", key=key
    )


def _options(field: str, reference: CheckpointRef) -> tuple[str, ...]:
    """Of a field that is no number."""
    if field == "layer":
        return ("", *_layers(reference))
    return SEGMENTATIONS if field == "superpixels" else ()


def _reset(name: str) -> None:
    _show(name, None)
    _keep(name, {})


def _show(name: str, settings: dict[str, Any] | None) -> None:
    for field, value in get_method(name, settings).settings().items():
        if (key := f"setting-{name}-{field}") in st.session_state:
            st.session_state[key] = value


def _keep(name: str, settings: dict[str, Any]) -> None:
    st.session_state[KEPT] = {**st.session_state.get(KEPT, {}), name: settings}


def _layers(reference: CheckpointRef) -> tuple[str, ...]:
    from core.attribution.networks import convolutions

    return tuple(convolutions(loaded(reference).model))
