"""What the address of a page carries, so that a link opens with the same choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from core.common.errors import LabError
from pages.shared.registry import Page
from pages.shared.text import escape_markdown


@contextmanager
def visit(page: str) -> Iterator[None]:
    """One run of a page. What it says with `write_url` goes to the browser at its end: each message is a step in its history.

    The first run after another page says nothing: the browser may still be on its way here.
    """
    state = st.session_state
    number, last = state.get("visit", (0, page))
    state["visit"], state["to-address"] = (number + (page != last), page), {}
    left = state.get("steps-between", {}).get((page, frozenset(st.query_params.to_dict().items())))
    if page != last and left is not None:  # Back, to a step that holds the query of the page that came next
        st.query_params.from_dict(left)
    yield
    written: dict[str, tuple[str, str | None]] = state.pop("to-address")
    texts = {} if page != last else {param: text for param, (_, text) in written.items()}
    changed = {param: text for param, text in texts.items() if text != st.query_params.get(param)}
    if changed:
        st.query_params.update({param: [] if text is None else text for param, text in changed.items()})
    for param in (param for param, text in changed.items() if text is None):
        del st.query_params[param]  # the address is without it already
    for param, (key, _) in written.items():
        state[f"{key}-from-url"] = (state["visit"], st.query_params.get(param))


def linked(param: str, key: str, parse: Callable[[str], Any], default: Any) -> bool:
    """Before the widget `key`: take its value from `?param=`, where that is not what `write_url` said in this visit.

    parse: from the address to the value; where it raises LabError, the page warns and it is the default. default: the value
    without a parameter, as after Back. Returns whether the address has changed, or names a value at the begin of a visit.
    """
    state, text = st.session_state, st.query_params.get(param)
    seen = state.get(f"{key}-from-url", (None, None))
    if key in state and seen == (state["visit"], text):
        return False
    state[f"{key}-from-url"], state[key] = (state["visit"], text), default
    if text is not None:
        try:
            state[key] = parse(text)
        except LabError as error:
            st.warning(escape_markdown(error))
            return False
    return text is not None or seen[0] == state["visit"]


def write_url(param: str, key: str, text: str | None) -> None:
    """After the widget `key`, which is the truth from then on: the address says `?param=text`, or nothing for None."""
    # A fragment that runs by itself has no visit: what it says goes out with the next one.
    st.session_state.setdefault("to-address", {})[param] = (key, text)


def choose_view(page: Page, start: str | None = None) -> str:
    """Draw the title of a page, the row of its views and what the chosen one asks; returns that view.

    start: where the address names no view; by default the one that was left, or the first. Not `bind="query-params"`: what
    one page binds, Streamlit takes out of the links that lead from it to another.
    """
    state, views, named = st.session_state, list(page.views), st.query_params.get("view")
    left: dict[str, str] = state.setdefault("views-left", {})
    there, seen = state.get("view-from-url", (None, None))
    if there != state["visit"] or "view" not in state:
        state["view"] = named or start or left.get(page.name)
        state["view-from-url"] = (state["visit"], named)  # at once: a click may cut this run short
    elif named != seen:  # Back, Forward, or a link within the page
        state["view"] = named or start
    # Said again in each run: of one that was cut short the browser may not know yet what it chose.
    state["view"] = state["view"] if state["view"] in views else views[0]
    st.title(page.title)
    view = str(st.segmented_control("View", views, required=True, key="view", label_visibility="collapsed"))
    write_url("view", "view", view if view != views[0] or view == named else None)
    left[page.name] = view
    st.markdown(page.views[view])
    return view
