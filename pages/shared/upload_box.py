"""Where an image comes from: an upload, the camera, the test set, or a drawn example. The last one given is kept."""

from __future__ import annotations

import io
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.common.errors import LabError
from core.common.pixels import preview
from core.data import DATASETS, dataset_status
from core.data.dataset import DatasetCard, ImageDataset
from core.data.decode import FORMATS_FOR_PEOPLE, MAX_BYTES, SUFFIXES
from core.data.square import Square
from pages.shared.copy_link import PRIVATE, not_in_link
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import clickable_image
from pages.shared.examples import examples
from pages.shared.resources import dataset
from pages.shared.square import with_square
from pages.shared.text import escape_markdown, shorten, show_error
from pages.shared.uploads import uploads
from pages.shared.url import Texts, insist, linked_together, write_url

CAMERA = "camera image"
"""Title of a photo that was taken on the page."""
SOURCES = ("Upload", "Camera", "Test set")
KEY, PARAMS = "input-image", ("example", "image", "upload")
UPLOAD_HELP = (
    f"{FORMATS_FOR_PEOPLE}. The server keeps it in memory for as long as this tab is open, and an hour for a reload. It is not "
    "stored."
)
EXAMPLE_PX, LABEL_CHARACTERS = 168, 12
FIRST_LOOK = 1000
"""Test images out of which a few are chosen."""
WANTED = "wanted-index"
"""Number of the test image to show as soon as the test set is there."""


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
    dataset: str = ""
    """Whose test set that is, by its registry name."""
    example: str | None = None
    """Which of the drawn examples it is."""
    token: str = ""
    """Of an upload, as `uploads` keeps it."""
    square: Square | None = None
    """What of an upload the model sees; None for the central square."""

    @property
    def file(self) -> bool:
        """Whether a person has it as a file, which has the title for its name."""
        return bool(self.token) and self.title != CAMERA

    def query(self, name: str) -> dict[str, str]:
        """What an address says to open it again, where it can. name: the dataset of the checkpoint there."""
        if self.example:
            return {"example": self.example}
        if self.token:
            return {"upload": self.token} | ({"square": str(self.square)} if self.square else {})
        return {"image": str(self.number)} if self.number is not None and self.dataset == name else {}


def upload_box(data: DatasetCard) -> InputImage | None:
    """The controls; returns the image to classify, if there is one. It stays when pages or checkpoints change.

    data: what the checkpoint was trained on, whose test set is offered. `?example=ship` opens a drawn example, `?image=7`
    a test image.
    """
    state = st.session_state
    shown: InputImage | None = state.get(KEY)
    if shown and shown.token and state.get("box-visit") == state["visit"] and _in_a_box():
        insist({"upload": shown.token}, PARAMS)
    changed = linked_together(PARAMS, KEY, _from_address, None, write=lambda image: image.query(data.name), keep=True)
    if changed and (shown is None or state[KEY] is not shown):
        wanted = state.get(WANTED)
        show_input(state[KEY])
        if wanted is not None:
            state[WANTED], state["source"] = wanted, "Test set"
    if state.get("box-visit") != state["visit"]:  # Streamlit forgets what the widgets of another page held
        state["box-visit"], state["source"] = state["visit"], state.get("source") or SOURCES[0]
    source = st.segmented_control("Image from", SOURCES, required=True, key="source", persist_state="session")
    if source == "Upload":
        file = st.file_uploader(
            "A photo or drawing",
            type=list(SUFFIXES),
            max_upload_size=MAX_BYTES // 1_000_000,
            key=(key := _box_key("upload")),
            on_change=_take,
            args=(key,),
            help=UPLOAD_HELP,
        )
        _take_if_new(key, file)
    elif source == "Camera" and not has_camera(st.context.url):
        st.info(
            "Browsers allow the camera only on https:// addresses and on localhost. Upload a photo instead.",
            icon=":material/no_photography:",
        )
    elif source == "Camera":
        key = _box_key("camera")
        file = st.camera_input("A photo of something in front of you", key=key, on_change=_take, args=(key,))
        _take_if_new(key, file)
    else:
        _test_image(data)
        if WANTED in state:  # the test set is not on this machine yet
            write_url("image", KEY, str(state[WANTED]))
    image: InputImage | None = state.get(KEY)
    if image is not None:
        st.button("Back to the examples", key="clear-image", icon=":material/arrow_back:", on_click=_clear)
    if image is not None and not {*image.query(data.name)} - {*PRIVATE}:
        not_in_link(
            "Your own image is not in the link: whoever opens it gives one. The address of this page itself shows it for an "
            "hour."
            if image.token
            else "This image is not in the link: it is from the test set of another checkpoint."
        )
    return with_square(image) if image else None


def show_input(image: InputImage | None) -> None:
    """Show an image that was given before; None for the examples."""
    _set(image)
    if image is not None and image.number is not None:
        st.session_state["source"] = "Test set"
    elif st.session_state.get("source") == "Test set":
        st.session_state["source"] = SOURCES[0]


def _clear() -> None:
    """Back to the examples: nobody needs the upload any more."""
    if image := st.session_state.get(KEY):
        uploads().drop(image.token)
    show_input(None)


def example_row(data: DatasetCard) -> None:
    """Images to click, for people without a photo at hand: test images of a dataset of their own, else drawings.

    data: what the checkpoint was trained on.
    """
    found = _own_dataset(data)
    st.markdown("**Click a test image, or upload a photo:**" if found else "**Click a drawing, or upload a photo:**")
    with st.container(horizontal=True, gap="small"):
        if found:
            for number in varied_images(found.test.labels):
                label = found.card.classes[int(found.test.labels[number])]
                clickable_image(
                    preview(found.test.images[number], EXAMPLE_PX),
                    escape_markdown(shorten(label, LABEL_CHARACTERS)),
                    key=f"example-{number}",
                    alt=f"Test image {number}: {label}",
                    on_click=_show_test,
                    args=(data.name, number),
                )
            return
        for title, drawing in examples().items():
            clickable_image(
                drawing,
                title.capitalize(),
                key=f"example-{title}",
                alt=f"Example drawing: {title}",
                on_click=show_input,
                args=(_example(title),),
            )


def varied_images(labels: np.ndarray, count: int = 6) -> list[int]:
    """Places of a few images (N,), always the same ones: one of each class before a second of any."""
    order = np.random.default_rng(0).permutation(len(labels))[:FIRST_LOOK].tolist()
    seen: Counter[int] = Counter()
    turns = []
    for place in order:
        turns.append(seen[label := int(labels[place])])
        seen[label] += 1
    return [order[place] for place in np.argsort(turns, kind="stable")[:count]]


def _own_dataset(data: DatasetCard) -> ImageDataset | None:
    """A person's own dataset with test images, where it is on this machine and can be read."""
    if data.name in DATASETS:
        return None
    try:
        dataset_status(data.name)
        with st.spinner(f"Reading {escape_markdown(data.title)}"):
            found = dataset(data.name)
    except LabError:
        return None
    return found if len(found.test) else None


def _show_test(name: str, number: int) -> None:
    _take_test(name, number)
    show_input(st.session_state[KEY])


def _from_address(texts: Texts) -> InputImage | None:
    """None for a test image, which is shown as soon as the test set is there."""
    st.session_state.pop(WANTED, None)
    if "example" in texts:
        return _example(texts["example"])
    if "upload" in texts:
        shown, token = st.session_state.get(KEY), texts["upload"]
        if shown is not None and shown.token == token:
            return shown
        found = uploads().find(token)
        return InputImage(data=found.data, title=found.title, token=token)
    text = texts["image"]
    if not text.isdecimal() or len(text) > 6:
        raise LabError(f"{text[:60]} is not the number of a test image: choose one under Test set.")
    st.session_state[WANTED] = int(text)
    return None


def _example(title: str) -> InputImage:
    if title not in examples():
        raise LabError(f"There is no example {title[:60]}: choose one of {', '.join(examples())}.")
    return InputImage(data=examples()[title], title=f"drawn example, {title}", example=title)


def has_camera(url: str | None) -> bool:
    """Whether browsers may give a page at this address the camera. Source: W3C, Secure Contexts, section 3.1."""
    parts = urlsplit(url or "https:")
    host = parts.hostname or ""
    local = host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")
    return parts.scheme == "https" or local


def _in_a_box() -> bool:
    """Whether the upload box or the camera holds what was taken last."""
    state = st.session_state
    boxes = (_box_key("upload"), _box_key("camera"))
    return any(file.file_id == state.get(f"taken-{key}") for key in boxes if (file := state.get(key)) is not None)


def _box_key(kind: str) -> str:
    """Another one once another image took the place of an upload or a photo: the box then holds none.

    kind: `upload` or `camera`.
    """
    number = st.session_state.get("upload-number", 0)
    return f"{kind}-{number}" if number else kind


def _test_image(data: DatasetCard) -> None:
    found = _test_set(data)
    if found is None:
        return
    count, state = len(found.test), st.session_state
    shown: InputImage | None = state.get(KEY)
    number = shown.number if shown else None
    if WANTED in state:
        number = min(state[WANTED], count - 1)
        if number < state[WANTED]:  # an address may say anything
            st.warning(f"There are {count:,} test images, from number 0 on: this is the last.")
    elif number is None or number >= count:  # of another checkpoint's larger test set
        number = random.randrange(count)
    if shown is None or (shown.number, shown.dataset) != (number, data.name):
        _take_test(data.name, number)
    state.pop(WANTED, None)
    # The image is the truth, in each run: of one that was cut short the browser may not know, and say what it had before.
    state["test-index"] = state[KEY].number
    st.number_input("Test image number", 0, count - 1, step=1, key="test-index", on_change=_entered, args=(data.name,))
    st.button("Another one", key="another", icon=":material/shuffle:", on_click=_another, args=(data.name, count))


def _test_set(data: DatasetCard) -> ImageDataset | None:
    """The dataset, or None with a sentence on the page: it is offered, gone, or has no test images."""
    title = escape_markdown(data.title)
    if data.name in DATASETS:
        if not dataset_or_offer(data.name, "show you one of its test images", key="test-image"):
            return None
    else:
        try:
            dataset_status(data.name)
        except LabError:
            st.info(f"{title} is no longer on this machine: upload an image instead.")
            return None
    try:
        with st.spinner(f"Reading {title}"):
            found = dataset(data.name)
    except LabError as error:
        show_error(error)
        return None
    if not len(found.test):
        st.info(f"{title} has no test images: upload an image instead.")
        return None
    return found


def _another(name: str, count: int) -> None:
    _take_test(name, random.randrange(count))


def _entered(name: str) -> None:
    _take_test(name, int(st.session_state["test-index"]))


def _take_test(name: str, index: int) -> None:
    from PIL import Image

    found = dataset(name)
    buffer = io.BytesIO()
    Image.fromarray(found.test.images[index]).save(buffer, "PNG")
    label = found.card.classes[int(found.test.labels[index])]
    file = f", {PurePosixPath(found.test.files[index]).name}" if found.test.files else ""
    title = f"test image {index}{file}"
    _set(InputImage(data=buffer.getvalue(), title=title, label=label, number=index, dataset=name))


def _take(key: str) -> None:
    file = st.session_state.get(key)
    st.session_state.pop(WANTED, None)
    if file is None:  # also for a moment while another file takes its place: the box has to stay the same
        st.session_state[KEY] = None
    else:
        st.session_state[f"taken-{key}"] = file.file_id
        title = CAMERA if key.startswith("camera") else file.name
        data = file.getvalue()
        st.session_state[KEY] = InputImage(data=data, title=title, token=uploads().keep(data, title))


def _take_if_new(key: str, file: UploadedFile | None) -> None:
    """Take a file whose callback was lost, as may happen while the server is busy with something else."""
    if file is not None and file.file_id != st.session_state.get(f"taken-{key}"):
        _take(key)


def _set(image: InputImage | None) -> None:
    st.session_state[KEY] = image
    st.session_state.pop(WANTED, None)
    st.session_state["upload-number"] = st.session_state.get("upload-number", 0) + 1
