"""What a run is to learn from: a known dataset, or something of the user's own."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.common.errors import LabError
from core.data import DATASETS, FOLDER_PREFIX, TEXT_PREFIX, store_upload, stored_texts
from pages.shared.resources import text_dataset
from pages.shared.url_select import url_select

FOLDER, TEXT_FILE = "A folder of mine", "A text file of mine"
FOLDER_KEY = "folder"


def text_field(param: str = "") -> str:
    """A known text, one that was uploaded before, or TEXT_FILE. param: what carries it in the address."""
    texts = {name: source.title for name, source in DATASETS.items() if source.task == "text"}
    for source in stored_texts():
        # Two options may not read the same: the widget tells them apart by what they say.
        end = f" ({source.name[-10:-4]})" if source.title in texts.values() else ""
        texts[source.name] = source.title + end
    return url_select(
        "Text",
        [*texts, TEXT_FILE],
        "text-dataset",
        param,
        titles=lambda name: texts.get(name, name),
        named={"file": TEXT_FILE} | {address_word(name): name for name in texts},
    )


def text_upload() -> tuple[str, str]:
    """The dataset's name of a text that was just given, and what is wrong with it; both empty while there is none."""
    file = st.file_uploader(
        "A text file, UTF-8",
        type=["txt", "text", "md", "csv", "py"],
        max_upload_size=20,
        key="text-upload",
        help="It is checked and kept on this server, so that the run can read it. The first 90% train, the rest validates.",
    )
    if file is None:
        return "", ""
    # Read and checked once, not at every touch of the form.
    known: tuple[str, str, str] = st.session_state.get("text-uploaded", ("", "", ""))
    if known[0] != file.file_id:
        try:
            known = (file.file_id, store_upload(file.getvalue(), file.name), "")
        except LabError as error:
            known = (file.file_id, "", str(error))
        st.session_state["text-uploaded"] = known
    if known[1]:
        card = text_dataset(known[1]).card
        count, different = sum(card.sizes.values()), len(card.vocabulary)
        st.caption(f"{count:,} characters, {different} different ones. It stays in the list of texts.")
    return known[1], known[2]


def dataset_field(param: str = "") -> str:
    """A known dataset of images, or FOLDER. param: what carries it in the address."""
    return url_select(
        "Dataset",
        [*(name for name in DATASETS if DATASETS[name].task == "images"), FOLDER],
        "dataset",
        param,
        titles=lambda name: DATASETS[name].title if name in DATASETS else name,
        named={"folder": FOLDER},
    )


def address_word(name: str) -> str:
    """What an address says of a dataset: never where it lies on this machine."""
    if name.startswith(FOLDER_PREFIX):
        return "folder"
    return Path(name).stem if name.startswith(TEXT_PREFIX) else name


def folder_field() -> str:
    """The path that was typed; empty while there is none."""
    path = st.text_input(
        "Path of the folder on this server",
        key=FOLDER_KEY,
        persist_state="session",
        placeholder="/home/me/images",
        help="It holds train/<class>/*.png, or one folder per class; test/<class>/ too, if there is one.",
    )
    return (path or "").strip()
