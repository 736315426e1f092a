"""All datasets, a card each."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.data import (
    DATASETS,
    dataset_state,
    dataset_status,
    dataset_task,
    list_generated,
    load_images,
    stored_folders,
    stored_texts,
)
from core.data.source import DatasetSource
from pages.datasets.samples import at_suggested_size, by_class, sheet
from pages.shared.dataset_field import address_word
from pages.shared.elements import show_image
from pages.shared.text import escape_markdown, size
from pages.shared.url import set_address

STRIP = 10
"""Images of a dataset on its card."""


def listing() -> None:
    """What was added here, the newest first, then what everybody has."""
    if st.button("Add photos", key="go-add", type="primary", icon=":material/add_photo_alternate:"):
        set_address({"view": "Add photos"})
        st.rerun()
    for folder in stored_folders():
        _card(folder.name, folder.title, f"{folder.images:,} image files of yours · {size(folder.size_bytes)}")
    for entry in list_generated():
        _card(entry.name, entry.title, entry.description)
    for text in stored_texts():
        _card(text.name, text.title, "A text of yours")
    for name, source in DATASETS.items():
        _card(name, source.title, f"{source.description} {_place(source)}")


def _place(source: DatasetSource) -> str:
    status = dataset_status(source.name)
    if status.ready:
        return f"{size(status.size_bytes)} on disk."
    return f"Not on this machine yet ({size(source.download_bytes)} to fetch)."


def _card(name: str, title: str, words: str) -> None:
    word = address_word(name)
    with st.container(border=True, key=f"dataset-{word}"):
        st.markdown(f"**{escape_markdown(title)}**  \n{escape_markdown(words)}")
        try:
            if dataset_task(name) == "images" and dataset_status(name).ready:
                state = dataset_state(name)
                picture = _strip(at_suggested_size(name, state), state)
                show_image(picture, width=68 * STRIP - 4, alt=f"Some images of {title}")
        except LabError as error:  # a folder that was damaged since
            st.caption(escape_markdown(error))
        if st.button("Open", key=f"open-{word}"):
            set_address({"open": word})
            st.rerun()


@st.cache_resource(max_entries=64, show_spinner="Reading images")
def _strip(name: str, state: str) -> bytes:
    """Images of different classes, as far as there are so many."""
    train = load_images(name).train
    firsts = by_class(train, int(train.labels.max()) + 1, STRIP)
    places = [place for nth in range(STRIP) for row in firsts if nth < len(row) for place in row[nth : nth + 1]]
    return sheet([train.images[place] for place in places[:STRIP]])
