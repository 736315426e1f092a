"""What a run is to learn from: a known dataset, or something of the user's own."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from core.common.errors import LabError
from core.data import (
    DATASETS,
    FOLDER_PREFIX,
    TEXT_PREFIX,
    dataset_state,
    list_generated,
    store_upload,
    stored_folders,
    stored_texts,
    suggested_name,
)
from core.data.dataset import Fit, TextDataset
from core.data.encodings import ENCODINGS, EncodingError, preview
from core.data.folder import IMAGE_SIZES, parse_name, parse_path
from core.data.image_uploads import folder as image_folder
from core.data.normalize import changes_sentence
from pages.shared.resources import may_store
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_select import url_select
from pages.shared.url_values import one_of

FOLDER, TEXT_FILE = "A folder of mine", "A text file of mine"
FOLDER_KEY, SIZE_KEY, CUT_KEY = "folder", "image-size", "image-cut"
CUTS: dict[Fit, str] = {"crop": "Central square", "whole": "Whole image"}
UPLOADED = "text-uploaded"
FIRST_CHARACTERS = 400
"""Of a text that its card shows."""
MOST_SHOWN = 500
"""Different characters that its card shows."""


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


@dataclass(frozen=True, slots=True)
class _Given:
    """A file in the upload box: the dataset that it became, or why it is none yet."""

    file_id: str
    name: str = ""
    problem: str = ""
    question: EncodingError | None = None
    """Where it is not UTF-8: a person says how it is read."""


def text_upload() -> tuple[str, str]:
    """The dataset's name of a text that was just given, and what is wrong with it; both empty while there is none."""
    file = st.file_uploader(
        "A text file",
        type=["txt", "text", "md", "csv", "py"],
        max_upload_size=20,
        key="text-upload",
        help="It is checked and kept on this server. A file that is not UTF-8 is converted after you have seen its first lines.",
    )
    if file is None:
        return "", ""
    # Read and checked once, not at every touch of the form.
    given = st.session_state.get(UPLOADED)
    if given is None or given.file_id != file.file_id:
        _store(file.file_id, file.getvalue(), file.name)
        given = st.session_state[UPLOADED]
    if given.question is not None:
        _encoding_field(given.question, file.file_id, file.getvalue(), file.name)
    return given.name, given.problem


def _store(file_id: str, data: bytes, title: str, encoding: str | None = None) -> None:
    """Keep a file as a dataset, or say why it is none."""
    before = st.session_state.get(UPLOADED)
    try:
        given = _Given(file_id, name=store_upload(data, title, encoding, user=may_store(len(data))))
    except EncodingError as error:
        given = _Given(
            file_id, problem=f"{error.title} is not UTF-8: convert it below, or choose another file.", question=error
        )
    except LabError as error:
        given = _Given(file_id, problem=str(error), question=before.question if encoding and before else None)
    st.session_state[UPLOADED] = given


def _encoding_field(question: EncodingError, file_id: str, data: bytes, title: str) -> None:
    """How a file that is not UTF-8 may be read, with its first lines, and a button that converts it."""
    with st.container(border=True):
        asked = "Convert it?" if question.guess else "Choose the encoding in which its first lines read well."
        st.markdown(f"{escape_markdown(f'{question.title} {question.what}')}. {asked}")
        options = [name for name in ENCODINGS if name != "utf-8"]
        encoding = st.selectbox(
            "Encoding",
            options,
            index=options.index(question.guess) if question.guess else None,
            format_func=ENCODINGS.__getitem__,
            placeholder="Choose an encoding",
            key=f"text-encoding-{file_id}",
        )
        if encoding:
            st.code(preview(data, encoding), language=None, wrap_lines=True)
        st.button(
            "Convert to UTF-8",
            key="text-convert",
            icon=":material/sync_alt:",
            disabled=not encoding,
            on_click=_store,
            args=(file_id, data, title, encoding),
        )


def text_card(data: TextDataset, warning: str) -> None:
    """What training reads of a text of the user's own. warning: in Markdown; empty for none."""
    card = data.card
    total, train = sum(card.sizes.values()), card.sizes["train"]
    different = len(card.vocabulary) + len(data.unknown)
    st.caption(
        f"{total:,} characters, {different:,} different ones: the first {train:,} train, the rest validates. "
        + changes_sentence(data.changes)
    )
    if warning:
        st.warning(warning, icon=":material/short_text:")
    with st.expander("What training reads"):
        st.code(data.text[:FIRST_CHARACTERS], language=None, wrap_lines=True)
        st.caption("Its characters")
        shown = "".join(character for character in card.vocabulary if character.isprintable())
        st.code(shown[:MOST_SHOWN], language=None, wrap_lines=True)
        more = f"{len(shown) - MOST_SHOWN:,} more. " if len(shown) > MOST_SHOWN else ""
        st.caption(escape_markdown(f"{more}{card.split}"))


def dataset_field(param: str = "") -> str:
    """A known dataset of images, photos that were added before, or FOLDER. param: what carries it in the address."""
    titles = {name: source.title for name, source in DATASETS.items() if source.task == "images"}
    for folder in stored_folders():
        titles[folder.name] = folder.title + (f" ({folder.path.name[:6]})" if folder.title in titles.values() else "")
    for entry in list_generated():
        titles[entry.name] = entry.title + (f" ({entry.name})" if entry.title in titles.values() else "")
    return url_select(
        "Dataset",
        [*titles, FOLDER],
        "dataset",
        param,
        titles=lambda name: titles.get(name, name),
        named={"folder": FOLDER} | {address_word(name): name for name in titles},
    )


def size_field(name: str, usual: int | None, *, in_address: bool) -> str:
    """The name of a folder's dataset with the image size and the cut that somebody chose. usual: the size that is proposed; None
    for the largest that its photos allow, up to a point. Raises LabError for a folder that cannot become a dataset."""
    suggested = parse_name(suggested_folder(name, dataset_state(name)))
    usual = usual if usual in IMAGE_SIZES else suggested.size
    if in_address:
        linked("size", SIZE_KEY, one_of(IMAGE_SIZES, "image size"), usual, of=(name, usual))
        linked("cut", CUT_KEY, one_of(CUTS, "cut"), "crop", of=name)
    left, right = st.columns(2)
    size = left.selectbox(
        "Image size",
        IMAGE_SIZES,
        format_func=lambda side: f"{side}×{side} pixels",
        key=SIZE_KEY,
        help="What the network gets of each photo. Four times the pixels take four times as long.",
    )
    cut = right.selectbox(
        "Cut",
        list(CUTS),
        format_func=CUTS.__getitem__,
        key=CUT_KEY,
        help="The central square loses what is beside it; the whole image is smaller, with grey at two sides.",
    )
    return str(replace(suggested, size=size, fit=cut))


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def suggested_folder(name: str, state: str) -> str:
    """`suggested_name`, once for each state of the folder."""
    return suggested_name(name)


def size_query(name: str) -> dict[str, str]:
    """What the address of the form says of a folder's image size and cut; nothing where the folder is gone."""
    try:
        folder = parse_name(name) if name.startswith(FOLDER_PREFIX) else None
    except LabError:
        folder = None
    return {} if folder is None else {"size": str(folder.size), "cut": folder.fit}


def address_word(name: str) -> str:
    """What an address says of a dataset: never where it lies on this machine."""
    if name.startswith(FOLDER_PREFIX):
        return next((entry.path.name for entry in stored_folders() if entry.name == name.partition("?")[0]), "folder")
    return Path(name).stem if name.startswith(TEXT_PREFIX) else name


def dataset_of_word(word: str) -> str:
    """The dataset that an address means. Raises LabError where there is none."""
    known = [*DATASETS, *(entry.name for entry in (*stored_folders(), *stored_texts(), *list_generated()))]
    found = next((name for name in known if address_word(name) == word), None)
    if found is None:
        raise LabError("This dataset is not on this server, or was deleted: choose another.")
    return found


def folders_allowed() -> bool:
    """Whether any folder of this machine may be read: nobody but its own users reaches the server."""
    return st.get_option("server.address") in ("localhost", "127.0.0.1", "::1")


def allowed_name(name: str) -> str:
    """A dataset's name as it is. Raises LabError for a folder or file that somebody typed and this server does not give away."""
    if not name.startswith(FOLDER_PREFIX) or folders_allowed():
        return name
    roots = [part for part in os.environ.get("LAB_FOLDERS", "").split(os.pathsep) if part]
    whole = os.path.realpath(parse_path(name).root)  # without spaces and options, as it will be read
    own = str(image_folder())
    if not any(Path(whole).is_relative_to(os.path.realpath(os.path.expanduser(root))) for root in (*roots, own)):
        raise LabError(
            "This server is open to others, so it reads only folders below those in LAB_FOLDERS: upload your photos instead."
        )
    return name


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
