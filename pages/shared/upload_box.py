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
    number: int | None = None
    """In the test set, where it is from there."""


def upload_box() -> InputImage | None:
    """The controls; returns the image to classify, if there is one. It stays when pages or checkpoints change."""
    here = st.session_state["visit"]
    arrived = st.session_state.get("box-visit") != here
    if arrived:  # Streamlit forgets what the widgets of another page held, unless it is said again
        st.session_state["box-visit"], st.session_state["source"] = here, st.session_state.get("source") or SOURCES[0]
    source = st.segmented_control("Image from", SOURCES, required=True, key="source", persist_state="session")
    if source == "Upload":
        file = st.file_uploader(
            "A photo or drawing",
            type=list(TYPES),
            max_upload_size=20,
            key=_upload_key(),
            on_change=_take,
            args=(_upload_key(),),
            help="It is read in memory on this server and not stored.",
        )
        _take_if_new(_upload_key(), file)
    elif source == "Camera":
        file = st.camera_input("A photo of something in front of you", key="camera", on_change=_take, args=("camera",))
        _take_if_new("camera", file)
    else:
        _test_image(arrived)
    if st.session_state.get(KEY) is not None:
        st.button(
            "Back to the examples", key="clear-image", icon=":material/arrow_back:", on_click=show_input, args=(None,)
        )
    return st.session_state.get(KEY)


def show_input(image: InputImage | None) -> None:
    """Show an image that was given before; None for the examples."""
    _set(image)
    if image is not None and image.number is not None:
        show_test_image(image.number)
    elif st.session_state.get("source") == "Test set":
        st.session_state["source"] = SOURCES[0]


def show_test_image(number: int) -> None:
    """Open the test set at this image."""
    st.session_state["source"], st.session_state["wanted-index"] = "Test set", number


def example_row() -> None:
    """Thumbnails to click, for people without a photo at hand."""
    st.markdown("**Upload a photo, or try one of these drawings:**")
    with st.container(horizontal=True, gap="small"):
        for title, data in examples().items():
            with st.container(width=92, gap="xsmall"):
                show_image(data, width=92, alt=f"Example drawing: {title}")
                image = InputImage(data=data, title=f"drawn example, {title}")
                st.button(title.capitalize(), key=f"example-{title}", on_click=_set, args=(image,), width="stretch")


def _upload_key() -> str:
    """Another one once another image took the place of an upload: the box then names no file."""
    number = st.session_state.get("upload-number", 0)
    return f"upload-{number}" if number else "upload"


def _test_image(arrived: bool) -> None:
    if not dataset_or_offer("cifar10", "show you one of its test images", key="test-image"):
        return
    try:
        loaded = dataset("cifar10")
    except LabError as error:
        show_error(error)
        return
    count = len(loaded.test)
    shown: InputImage | None = st.session_state.get(KEY)
    taken = None if shown is None else shown.number
    number = st.session_state.pop("wanted-index", None)
    if number is None and (arrived or "test-index" not in st.session_state):
        number = random.randrange(count) if taken is None else taken
    if number is not None:
        if number >= count:  # an address may say anything
            st.warning(f"There are {count:,} test images, from number 0 on: this is the last.")
        st.session_state["test-index"] = min(number, count - 1)
    st.number_input("Test image number", 0, count - 1, step=1, key="test-index", on_change=_take_test)
    st.button("Another one", key="another", icon=":material/shuffle:", on_click=_another, args=(count,))
    if taken != st.session_state["test-index"]:
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
    _set(InputImage(data=buffer.getvalue(), title=f"test image {index}", label=label, number=index))


def _take(key: str) -> None:
    file = st.session_state.get(key)
    if file is None:
        show_input(None)
    else:
        st.session_state[f"taken-{key}"] = file.file_id
        title = "camera image" if key == "camera" else file.name
        st.session_state[KEY] = InputImage(data=file.getvalue(), title=title)


def _take_if_new(key: str, file: UploadedFile | None) -> None:
    """Take a file whose callback was lost, as may happen while the server is busy with something else."""
    if file is not None and file.file_id != st.session_state.get(f"taken-{key}"):
        _take(key)


def _set(image: InputImage | None) -> None:
    st.session_state[KEY] = image
    st.session_state["upload-number"] = st.session_state.get("upload-number", 0) + 1
