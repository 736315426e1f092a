"""Everything that a result claims, as files, and its networks: as they run, as they are stored, and in ten lines of code."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.report import Report
from core.compression.analysis import byte_words, csv_rows
from pages.compression.export import export_panel
from pages.compression.result_files import ResultFiles, choose_variant
from pages.shared.elements import FILES_NOTE, download
from pages.shared.registry import page_link
from pages.shared.report import report_button
from pages.shared.tables import csv_bytes, file_stem, json_bytes
from pages.shared.text import escape_markdown

USES = {
    "images": ("Classify with it", ":material/image_search:", "Classify"),
    "text": ("Write with it", ":material/edit:", "Write"),
}
"""Task -> what its checkpoint is good for on the page of that name: label, icon, view."""


def files(made: ResultFiles, key: str, *, build: Callable[[], Report]) -> None:
    """The networks first, the figures below. build: makes the report."""
    result = made.result
    item = choose_variant(made, f"files-{key}", "Network", original=True, network=True)
    if item is not None:
        st.caption(escape_markdown(item.title))
        try:
            _network(made.reference(item), key)
        except LabError as error:
            st.caption(escape_markdown(error))
    st.markdown("**The figures**")
    name = file_stem(result.name or key, "checkpoint")
    with st.container(horizontal=True, gap="small"):
        report_button(build, f"{name}-report", key=key)
        download("Table (CSV)", lambda: csv_bytes(csv_rows(result)), f"{name}.csv", key=f"table-{key}")
        download("Whole result (JSON)", lambda: json_bytes(result.to_dict()), f"{name}.json", key=f"result-{key}")
    st.caption(FILES_NOTE)
    made_with = " · ".join(f"{name}: {text}" for name, text in result.made.items() if text)
    if made_with:
        st.caption(escape_markdown(made_with))


def _network(reference: CheckpointRef, key: str) -> None:
    """One checkpoint: where it can be used, its files, and how its ONNX file is run."""
    card, name = reference.card, file_stem(reference.name, "checkpoint")
    label, icon, view = USES[card.task]
    page_link(card.task, label, icon=icon, view=view, checkpoint=reference.name)
    if card.task == "images":
        page_link("attribution", "Explain a prediction", view="Explain", checkpoint=reference.name)
    weights = reference.folder / card.weights_file
    download(
        f"Stored weights ({byte_words(card.size_bytes)})",
        weights.read_bytes,
        f"{name}.safetensors",
        key=f"safetensors-{key}",
        help=f"The stored file, as it is: {card.storage}. python -m core reads it beside its card.",
    )
    st.markdown("**Export**")
    export_panel(reference, key)
