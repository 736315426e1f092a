"""What the address of a page carries, so that a link opens with the same choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.common.errors import LabError
from pages.shared.registry import Page
from pages.shared.text import plain


def linked(param: str, key: str, parse: Callable[[str], Any]) -> bool:
    """Before the widget `key`: take its value from `?param=`, where that has changed since `write_url`, or the widget is new.

    parse: from the address to the value; where it raises LabError, the page warns and the parameter goes. Returns whether
    the address won.
    """
    text, seen = st.query_params.get(param), f"{key}-from-url"
    if text is None or (key in st.session_state and text == st.session_state.get(seen)):
        return False
    st.session_state[seen] = text
    try:
        st.session_state[key] = parse(text)
    except LabError as error:
        st.warning(plain(error))
        del st.query_params[param]
        return False
    return True


def write_url(param: str, key: str, text: str | None) -> None:
    """After the widget `key`, which is the truth from then on: the address says `?param=text`, or nothing for None."""
    if text is None:
        st.query_params.pop(param, None)
    elif st.query_params.get(param) != text:  # each write is a step in the browser's history
        st.query_params[param] = text
    st.session_state[f"{key}-from-url"] = text


@dataclass(frozen=True, slots=True)
class ResultUrl:
    """`?param=<run id>` on a page whose views are, in this order: what ships, a new one, and the results of this machine."""

    param: str
    page: Page
    shipped: Callable[[], tuple[str, ...]]

    def choose_view(self) -> None:
        """Before the view's widget is made: an address that names a result opens it, whatever view it names."""
        example, *_, results = self.page.views
        started = st.session_state.pop(self._next, None)
        if started:
            st.query_params[self.param] = started
            st.session_state["view"] = results
        elif "view" not in st.session_state and "view" not in st.query_params and self.param in st.query_params:
            st.session_state["view"] = example if st.query_params[self.param] in self.shipped() else results

    def current(self) -> str | None:
        """The run that the address names. A link within the page leaves the browser's address behind: it is said again."""
        run_id = st.query_params.get(self.param)
        if run_id:
            st.query_params[self.param] = run_id
        return run_id

    def open(self, run_id: str) -> None:
        """Show a result next."""
        st.session_state[self._next] = run_id
        st.rerun()

    def clear(self) -> None:
        """In views that show no result of this machine: the address must not name one."""
        st.query_params.pop(self.param, None)

    @property
    def _next(self) -> str:
        """In the session: the run that was just started, to be opened by the next run of the page."""
        return f"{self.param}-next"
