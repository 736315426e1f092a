"""What an address without a page leads to."""

from __future__ import annotations

import streamlit as st
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.shared.registry import page_link, pages
from pages.shared.text import escape_markdown, shorten

MISSING = "missing-address"


def missing_page() -> list[StreamlitPage]:
    """The page of the wrong address that this session came by, in no list; none where it came by a right one.

    Streamlit alone would lay a dialog over Home, and change the address.
    """
    state, context = st.session_state, get_script_run_ctx()
    asked = (context.pages_manager.intended_page_name or "").strip("/") if context else ""
    if asked and "/" not in asked and asked not in pages():
        state[MISSING] = asked  # a later run is asked for by another name
    if MISSING not in state:
        return []
    return [
        st.Page(_draw, title="No such page", icon=":material/link_off:", url_path=state[MISSING], visibility="hidden")
    ]


def _draw() -> None:
    st.title("No such page")
    st.markdown(f"There is no page at /{escape_markdown(shorten(st.session_state[MISSING], 60))}.")
    page_link("home", "Home")
