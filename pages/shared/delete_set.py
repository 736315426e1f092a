"""Deleting a set of generated images, after a question."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.synthesis.removal import delete_set, set_bytes, users
from pages.shared.resources import forget_runs, runs_now, store
from pages.shared.text import escape_markdown, show_error, size
from pages.shared.url import set_address


def delete_set_button(set_id: str, view: str) -> None:
    """view: of the page, which is shown once the set is gone. Raises LabError where the runs cannot be listed."""
    runs = runs_now()
    using = users(set_id, runs)
    under_way = any(run.id == set_id and run.active for run in runs)
    with st.popover("Delete", icon=":material/delete:", type="tertiary", key=f"delete-{set_id}"):
        st.markdown(
            f"Its images are removed for good, as a dataset and as a run: {size(set_bytes(store(), set_id))} are freed. "
            "Networks trained on them stay, but cannot be trained further or compressed. Stopped runs on them cannot resume."
        )
        if using:
            names = ", ".join(escape_markdown(run.name) for run in using[:3])
            st.warning(f"Stop first what trains on them: {names}.")
        elif under_way:
            st.warning("These images are still being made: stop the run first.")
        if st.button("Delete it", key=f"confirm-{set_id}", type="primary", disabled=bool(using) or under_way):
            try:
                delete_set(store(), set_id)
            except LabError as error:
                show_error(error)
                return
            forget_runs()
            set_address({"view": view})
            st.rerun()
