"""What the address of a page carries, so that a link opens with the same choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.common.errors import LabError
from pages.shared.registry import Page
from pages.shared.text import escape_markdown


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
        st.warning(escape_markdown(error))
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


def choose_view(page: Page, start: str | None = None) -> str:
    """Draw the title of a page, the row of its views and what the chosen one asks; returns that view.

    start: where the address names no view; by default the one that was left, or the first. Not `bind="query-params"`: what
    one page binds, Streamlit takes out of the links that lead from it to another.
    """
    views, named = list(page.views), st.query_params.get("view")
    left: dict[str, str] = st.session_state.setdefault("views-left", {})
    there, seen = st.session_state.get("view-from-url", (None, None))
    arrived = there != page.name or "view" not in st.session_state
    if arrived:
        st.session_state["view"] = named or start or left.get(page.name)
    elif named != seen:  # Back, Forward, or a link within the page
        st.session_state["view"] = named or start
    if st.session_state["view"] not in views:
        st.session_state["view"] = views[0]
    st.title(page.title)
    view = str(st.segmented_control("View", views, required=True, key="view", label_visibility="collapsed"))
    if not arrived:  # the browser may still be on its way here, and would write it to the address of the last page
        write_url("view", "view", view if view != views[0] or view == named else None)
    st.session_state["view-from-url"] = (page.name, st.query_params.get("view"))
    left[page.name] = view
    st.markdown(page.views[view])
    return view
