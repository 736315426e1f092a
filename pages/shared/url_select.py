"""A select box whose choice stands in the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from core.common.errors import LabError
from pages.shared.url import linked


def url_select(
    label: str,
    options: Sequence[str],
    key: str,
    param: str,
    *,
    titles: Callable[[str], str] = str,
    named: Mapping[str, str] | None = None,
    elsewhere: Sequence[str] = (),
) -> str:
    """One of `options`, the first by default; `?param=` carries it.

    param: empty leaves the address alone. named: short words of the address -> the options that they name. elsewhere: what is
    no option now and was one beside another choice: it stands for the default.
    """
    words = dict(named or {})
    if not param:
        return str(st.selectbox(label, options, format_func=titles, key=key, persist_state="session"))

    def parse(text: str) -> str:
        option = words.get(text, text)
        if option in options or option in elsewhere:
            return option if option in options else options[0]
        shown = ", ".join(next((word for word in words if words[word] == name), name) for name in options)
        raise LabError(f"There is no {label.lower()} {text[:60]!r} here: the link may name {shown}.")

    def write(option: str) -> str:
        return next((word for word in words if words[word] == option), option)

    linked(param, key, parse, options[0], write=write, options=options)
    return str(st.selectbox(label, options, format_func=titles, key=key, persist_state="session"))
