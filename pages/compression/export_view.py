"""Any checkpoint as a file that runs without this app."""

from __future__ import annotations

import streamlit as st

from pages.compression.export import export_panel
from pages.compression.new import PARAM, choose_task
from pages.shared.checkpoint_picker import checkpoint_picker, describe
from pages.shared.text import escape_markdown


def export_view() -> None:
    left, right = st.columns([1, 2], gap="small")
    with left:
        task = choose_task()
        reference = checkpoint_picker("Checkpoint", f"export-{task}", param=PARAM, task=task, always=True)
        if reference is None:
            return
        st.caption(f"{escape_markdown(reference.label)}: {describe(reference)}.")
    with right:
        export_panel(reference, "any")
