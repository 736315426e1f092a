"""Photos of one's own: a folder or an archive through the browser, or a folder of this machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile as StreamlitFile

from core.common.errors import LabError
from core.data import FOLDER_PREFIX, canonical_name
from core.data.image_uploads import MAX_FILES, MAX_TOTAL_BYTES, StoredFolder, UploadedFile, store_files, store_zip
from core.data.torchvision_sets import NAMES, add_torchvision
from pages.datasets.detail import detail
from pages.shared import tasks
from pages.shared.dataset_field import address_word, allowed_name, folder_field, folders_allowed
from pages.shared.resources import may_store
from pages.shared.text import show_error
from pages.shared.url import set_address

NUMBER = "photos-number"
"""Another number empties the uploaders."""
TOKEN, PROBLEM = "photos-token", "photos-problem"


def add_view() -> None:
    """The uploaders, and what became of what was given."""
    number = st.session_state.get(NUMBER, 0)
    task = tasks.find(_task(number))
    if task is not None and not task.done:
        tasks.watch(_task(number))
        return
    if task is not None and task.result is not None and task.result.path.is_dir():
        st.session_state[NUMBER] = number + 1
        set_address({"open": address_word(task.result.name)})
        st.rerun()
    if task is not None:  # it failed, was stopped, or deleted since: empty uploaders, or they would start it again
        if task.result is None:
            st.session_state[PROBLEM] = task.error or "Stopped: nothing was added."
        number += 1
        st.session_state[NUMBER] = number
    if problem := st.session_state.get(PROBLEM):
        show_error(problem)
    st.markdown(
        "One folder for each class: `cats/…`, `dogs/…`. Folders `train` and `test`, a CSV list or COCO's JSON work too."
    )
    folder = st.file_uploader(
        "A folder of photos",
        accept_multiple_files="directory",
        max_upload_size=20,
        key=f"photos-folder-{number}",
        help=f"At most {MAX_FILES:,} photos, {MAX_TOTAL_BYTES // 10**9} GB together. They stay on this server until you delete "
        "them.",
    )
    archive = st.file_uploader(
        "Or a zip archive",
        type=["zip"],
        max_upload_size=MAX_TOTAL_BYTES // 10**6,
        key=f"photos-zip-{number}",
        help="Quicker than a folder of more than a few hundred photos.",
    )
    if archive is not None:
        _start(number, partial(store_zip, archive, archive.name), archive.size)
    if folder:
        _start(number, _folder_work(folder), sum(file.size for file in folder))
    with st.expander("A folder on this server", icon=":material/folder_open:"):
        _local()
    with st.expander("A dataset of torchvision", icon=":material/cloud_download:"):
        _torchvision(number)


def _start(number: int, work: Callable[..., StoredFolder], size_bytes: int = 0) -> NoReturn:
    """work: takes a progress report and the user."""
    st.session_state.pop(PROBLEM, None)
    try:
        tasks.start(_task(number), partial(work, user=may_store(size_bytes)))
    except LabError as error:
        st.session_state[PROBLEM] = str(error)
        st.session_state[NUMBER] = number + 1
    st.rerun()


def _task(number: int) -> str:
    """Of this session: what one person uploads is no other's to see before it is stored."""
    if TOKEN not in st.session_state:
        st.session_state[TOKEN] = secrets.token_urlsafe(16)
    return f"add-photos-{st.session_state[TOKEN]}-{number}"


def _folder_work(files: Sequence[StreamlitFile]) -> Callable[..., StoredFolder]:
    tops = {file.name.partition("/")[0] for file in files}
    title = tops.pop() if len(tops) == 1 and "/" in files[0].name else "My photos"
    given = (UploadedFile(file.name, partial(_opened, file)) for file in files)
    return partial(store_files, given, title, sum(file.size for file in files))


def _opened(file: StreamlitFile) -> StreamlitFile:
    file.seek(0)
    return file


def _torchvision(number: int) -> None:
    name = st.selectbox(
        "Dataset",
        NAMES,
        key="torchvision-name",
        accept_new_options=folders_allowed(),  # whoever may read this machine's disk may fill it
        help="Downloaded by torchvision on this server, and kept like photos of your own.",
    )
    if st.button("Fetch it", key="torchvision-fetch", disabled=not name):
        _start(number, partial(add_torchvision, name))


def _local() -> None:
    if not folders_allowed():
        st.markdown(
            "This server is open to others, so only folders below those named in its environment variable `LAB_FOLDERS` "
            "can be read."
        )
    path = folder_field()
    if not path:
        return
    try:
        name = canonical_name(allowed_name(f"{FOLDER_PREFIX}{path}"))
    except LabError as error:
        show_error(error)
        return
    detail(name)
