"""The study of the address: `?study=<run id>` opens it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.regularization.shipped import shipped_names

PARAM = "study"
NEXT = "study-next"
"""In the session: the study that was just started, to be opened by the next run of the page."""


def choose_view(views: Sequence[str]) -> None:
    """Before the view's widget is made: an address that names a study opens it, whatever view it names."""
    started = st.session_state.pop(NEXT, None)
    if started:
        st.query_params[PARAM] = started
        st.session_state["view"] = views[-1]
    elif "view" not in st.session_state and "view" not in st.query_params and PARAM in st.query_params:
        st.session_state["view"] = views[0] if st.query_params[PARAM] in shipped_names() else views[-1]


def open_study(run_id: str) -> None:
    """Show a study next."""
    st.session_state[NEXT] = run_id
    st.rerun()


def leave_study() -> None:
    """In views that show no study of this machine: the address must not name one."""
    st.query_params.pop(PARAM, None)
