"""The link to copy, beside the title of a page, and what it says that it does not carry."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from urllib.parse import urlencode

import streamlit as st

PRIVATE = ("upload", "square")
"""Parameters that are no part of a copied link: they name what this server keeps for a while, and a part of it."""


def not_in_link(sentence: str) -> None:
    """Say beside the link to copy what it does not carry."""
    state = st.session_state
    state["link-notes"].setdefault(state["link-scope"], []).append(sentence)


def page_title(title: str) -> None:
    """The title of a page, and beside it the link to copy."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(title, width="content")
        st.session_state["link-place"] = st.empty()
        offer_link({})  # at once, so that nothing moves when all is drawn


def shared_address() -> dict[str, str]:
    """`now` -> what Copy link offers; one mapping for the session, for a file that is made once a button is pressed."""
    found: dict[str, str] = st.session_state.setdefault("link-address", {})
    return found


def offer_link(unsent: Mapping[str, str]) -> None:
    """What is seen as an address to copy, beside the title. unsent: parameters that the address may not say yet."""
    state, place = st.session_state, st.session_state["link-place"]
    if place is None:
        return
    shared = {param: text for param, text in (st.query_params.to_dict() | dict(unsent)).items() if param not in PRIVATE}
    address = shared_address()
    address["now"] = f"{st.context.url or ''}{'?' if shared else ''}{urlencode(shared)}"
    with place.popover("Copy link", icon=":material/link:", type="tertiary"):
        st.code(address["now"], language=None, wrap_lines=True)
        for sentence in dict.fromkeys(chain.from_iterable(state.get("link-notes", {}).values())):
            st.caption(sentence)
