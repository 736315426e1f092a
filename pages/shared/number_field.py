"""A number that a person types, with its range in a sentence: the browser's own hint is gone before it is read."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.shared.url import linked
from pages.shared.url_values import number, write_number


def number_field(label: str, low: float, high: float, *, key: str, **options: Any) -> Any:
    """The number of the widget `key`, or the nearest that is valid, which a sentence below the field says.

    options: of `st.number_input`; its step says whether the number is whole.
    """
    typed = st.number_input(label, key=key, persist_state="session", **options)
    value = _nearest(typed, low, high)
    if value != typed:
        st.error(f"{label} goes from {low:,g} to {high:,g}: {value:,g} is used.")
    return value


def linked_number(
    label: str, low: float, high: float, default: float, *, param: str, key: str, of: Any = None, **options: Any
) -> Any:
    """The same, with `?param=` in the address. of: as in `linked`."""

    def write(value: float) -> str:
        return write_number(_nearest(value, low, high))

    linked(param, key, number(low, high, f"“{label}”", type(default)), default, write=write, of=of)
    return number_field(label, low, high, key=key, **options)


def _nearest(value: float | None, low: float, high: float) -> Any:
    """low, where the field is empty."""
    return low if value is None else min(max(value, low), high)
