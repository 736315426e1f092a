"""Where an image comes from: an upload, the camera, the test set, or a drawn example. The last one given is kept."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.common.errors import LabError
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import show_image
from pages.shared.examples import examples
from pages.shared.resources import dataset
from pages.shared.text import show_error

TYPES = ("png", "jpg", "jpeg", "webp", "bmp", "gif")
SOURCES = ("Upload", "Camera", "Test set")
KEY = "input-image"


@dataclass(frozen=True, kw_only=True, slots=True)
class InputImage:
    """An image as it came: nothing has looked into these bytes yet."""

    data: bytes
    title: str
    """What it is called: a file name, or where it is from."""
    label: str | None = None
    """Its true class, where known."""


def upload_box() -> InputImage | None:
    """The controls; returns the image to classify, if there is one. It stays when pages or checkpoints change."""
    st.session_state.setdefault("source", SOURCES[0])
    source = st.segmented_control("Image from", SOURCES, required=True, key="source", persist_state="session")
    if source == "Upload":
        file = st.file_uploader(
            "A photo or drawing",
            type=list(TYPES),
            max_upload_size=20,
            key="upload",
            on_change=_take,
            args=("upload",),
            help="It is read in memory on this server and not stored.",
        )
        _take_if_new("upload", file)
    elif source == "Camera":
        file = st.camera_input("A photo of something in front of you", key="camera", on_change=_take, args=("camera",))
        _take_if_new("camera", file)
    else:
        _test_image()
    if st.session_state.get(KEY) is not None:
        st.button("Back to the examples", key="clear-image", icon=":material/arrow_back:", on_click=_clear)
    return st.session_state.get(KEY)


def example_row() -> None:
    """Thumbnails to click, for who has no photo at hand."""
    with st.container(horizontal=True, gap="small"):
        for title, data in examples().items():
            with st.container(width=92, gap="xsmall"):
                show_image(data, width=92, alt=f"Example drawing: {title}")
                image = InputImage(data=data, title=f"drawn example, {title}")
                st.button(title.capitalize(), key=f"example-{title}", on_click=_set, args=(image,), width="stretch")


def _test_image() -> None:
    if not dataset_or_offer("cifar10", "show you one of its test images", key="test-image"):
        return
    try:
        loaded = dataset("cifar10")
    except LabError as error:
        show_error(error)
        return
    count = len(loaded.test)
    # Streamlit forgets the number while its box is not drawn: the image that was taken stays the one that is shown.
    start = st.session_state.get("taken-index", random.randrange(count))
    if st.session_state.setdefault("test-index", start) >= count:  # an address may say anything
        st.warning(f"There are {count:,} test images, from number 0 on: this is the last.")
        st.session_state["test-index"] = count - 1
    st.number_input("Test image number", 0, count - 1, step=1, key="test-index", on_change=_take_test)
    st.button("Another one", key="another", icon=":material/shuffle:", on_click=_another, args=(count,))
    if st.session_state.get("taken-index") != st.session_state["test-index"]:
        _take_test()


def _another(count: int) -> None:
    st.session_state["test-index"] = random.randrange(count)
    _take_test()


def _take_test() -> None:
    from PIL import Image

    index = int(st.session_state["test-index"])
    loaded = dataset("cifar10")
    buffer = io.BytesIO()
    Image.fromarray(loaded.test.images[index]).save(buffer, "PNG")
    label = loaded.card.classes[int(loaded.test.labels[index])]
    st.session_state["taken-index"] = index
    _set(InputImage(data=buffer.getvalue(), title=f"test image {index}", label=label))


def _take(key: str) -> None:
    file = st.session_state.get(key)
    if file is None:
        _clear()
    else:
        st.session_state[f"taken-{key}"] = file.file_id
        _set(InputImage(data=file.getvalue(), title=file.name if key == "upload" else "camera image"))


def _take_if_new(key: str, file: UploadedFile | None) -> None:
    """Take a file whose callback was lost, as may happen while the server is busy with something else."""
    if file is not None and file.file_id != st.session_state.get(f"taken-{key}"):
        _take(key)


def _set(image: InputImage) -> None:
    st.session_state[KEY] = image


def _clear() -> None:
    st.session_state.pop(KEY, None)
    st.session_state.pop("taken-index", None)
    if st.session_state.get("source") == "Test set":
        st.session_state["source"] = SOURCES[0]
