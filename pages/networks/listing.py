"""All networks that were brought here, a card each."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import RUNTIME_ONLY
from core.networks.store import kept_networks
from pages.shared.checkpoint_picker import describe
from pages.shared.text import escape_markdown
from pages.shared.url import set_address


def listing() -> None:
    """The newest first."""
    found = kept_networks()
    if not found:
        st.markdown("There are no networks here yet.")
    for reference in found:
        with st.container(border=True, key=f"network-{reference.name}"):
            only = " · answers only" if reference.card.model == RUNTIME_ONLY else ""
            st.markdown(f"**{escape_markdown(reference.label)}**  \n{describe(reference)}{only}")
            if st.button("Open", key=f"open-{reference.name}"):
                set_address({"view": "One network", "network": reference.name})
                st.rerun()
