"""A network through the browser: the file, what is still asked, its first answer, and only then it is kept."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, NoReturn

import numpy as np
import streamlit as st

from core.common.access import READ_ONLY, read_only
from core.common.errors import LabError
from core.common.pixels import preview
from core.common.progress import Progress
from core.data import DATASETS, dataset_status, dataset_title, stored_folders
from core.data.dataset import NO_DATASET, ImageCard
from core.data.decode import MAX_BYTES as MAX_PHOTO
from core.data.decode import SUFFIXES, decode_image
from core.data.folder import IMAGE_SIZES
from core.models.torchvision_names import ARCHITECTURES, architecture_title
from core.networks.choices import Choices
from core.networks.store import MAX_BYTES, Given, Tried, attempt, discard, keep, receive
from pages.networks.detail import show_answer, show_facts
from pages.shared import tasks
from pages.shared.elements import show_image
from pages.shared.examples import examples
from pages.shared.resources import dataset, may_store
from pages.shared.settings_form import settings_form
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import set_address

NUMBER, TOKEN, PROBLEM = "network-number", "network-token", "network-problem"
SUFFIXES_TAKEN = ["onnx", "safetensors", "pt", "pth", "bin", "ckpt", "zip"]
LABELS = {
    "input_size": "Image size it takes",
    "layout": "Order of its input",
    "pixels": "Range of pixels",
    "fit": "Photo to square",
    "mean": "Mean",
    "std": "Standard deviation",
}
WORDS = {
    "NCHW": "channels first",
    "NHWC": "channels last",
    "imagenet": "as for ImageNet",
    "0..1": "0 to 1",
    "-1..1": "−1 to 1",
    "0..255": "0 to 255",
    "own": "given below",
    "crop": "central square",
    "whole": "whole image",
    NO_DATASET: "None of them",
    **{name: architecture_title(name) for name in ARCHITECTURES},
}
SAMPLE_PX = 160
USUAL_SIZE = 224


def upload() -> bool:
    """The box and what became of what was given; whether a file is at hand, so that the page shows it alone."""
    task = tasks.find(_task("file"))
    if task is None:
        _box()
        return False
    if not task.done:
        tasks.watch(_task("file"))
        return True
    if task.result is None:  # it failed or was stopped: an empty box, or it would start again
        st.session_state[PROBLEM] = task.error or "Stopped: nothing was taken."
        _again()
    _form(task.result)
    return True


def _box() -> None:
    if read_only():
        st.info(READ_ONLY)
        return
    if problem := st.session_state.get(PROBLEM):
        show_error(problem)
    file = st.file_uploader(
        "A network",
        type=SUFFIXES_TAKEN,
        max_upload_size=MAX_BYTES // 10**6,
        key=f"network-file-{st.session_state.get(NUMBER, 0)}",
        help="An ONNX file, weights of a torchvision architecture (safetensors or a state dict), or a checkpoint of this lab: "
        "the zip archive from Download, or the weights from Export. Nothing in it is unpickled, and memory and time are limited.",
    )
    if file is not None:
        st.session_state.pop(PROBLEM, None)
        try:
            tasks.start(_task("file"), partial(receive, file, file.name, user=may_store(file.size)))
        except LabError as error:
            st.session_state[PROBLEM] = str(error)
            _again()
        st.rerun()


def _task(step: str) -> str:
    """Of this session: what one person uploads is no other's to see before it is kept."""
    if TOKEN not in st.session_state:
        st.session_state[TOKEN] = secrets.token_urlsafe(16)
    return f"network-{step}-{st.session_state[TOKEN]}-{st.session_state.get(NUMBER, 0)}"


def _again() -> NoReturn:
    st.session_state[NUMBER] = st.session_state.get(NUMBER, 0) + 1
    st.rerun()


def _form(given: Given) -> None:
    facts, asked = given.facts, (Choices(), None)
    if facts["kind"] == "weights" and not facts["classes"]:
        _heading(given)
        show_error(facts["recognised"])
        _other_file(given)
        return
    answer, controls = st.columns([3, 2], gap="large")  # on a phone the answer stands above what it is of
    with controls:
        image = _sample()
        found = asked if facts["kind"] == "checkpoint" else _choices(given)
    with answer:
        _heading(given)
        with st.container(horizontal=True, gap="small"):
            task = tasks.find(_task("try"))
            if found is not None and (task is None or task.done):
                work = partial(_try, given, *found, image)
                tasks.start_button("Run it", _task("try"), work, button="try-network", type="primary")
            _other_file(given)
        if tasks.watch(_task("try")):
            return
        if task is not None and isinstance(task.result, tuple):
            tried, of = task.result
            if of == found:
                _answered(tried)
            else:
                st.caption("Settings have changed: run it again.")


def _heading(given: Given) -> None:
    st.markdown(f"#### {escape_markdown(given.name)}")
    show_facts(given.facts)


def _try(
    given: Given, choices: Choices, card: ImageCard | None, image: np.ndarray, report: Progress
) -> tuple[Tried, tuple[Choices, ImageCard | None]]:
    return attempt(given, choices, dataset=card, image=image, on_progress=report), (choices, card)


def _other_file(given: Given) -> None:
    if st.button("Another file", key="other-network", type="tertiary"):
        tasks.drop(_task("try"))
        discard(given)
        _again()


def _choices(given: Given) -> tuple[Choices, ImageCard | None] | None:
    """What the form says, and the card of the dataset; None with a sentence where it is not valid."""
    facts = given.facts
    names: list[str] = []
    values: dict[str, Any] = Choices().to_dict()
    if facts["kind"] == "weights":
        names, values["architecture"] = ["architecture", "input_size"], facts["architecture"]
    else:
        names = ["input_size"] * (not facts["size"]) + ["layout"] * (not facts["layout"])
    values["input_size"] = facts.get("size") or facts.get("input_size") or USUAL_SIZE
    known = {name: facts[name] for name in ("mean", "std") if facts.get(name)}
    if len(known) == 2:
        values["pixels"] = "own"
    key = f"network-{st.session_state.get(NUMBER, 0)}-{{}}"
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        found = settings_form(
            Choices,
            [*names, "pixels", "fit"],
            values,
            key,
            labels=LABELS,
            options={"architecture": ARCHITECTURES},
            words=WORDS,
            width=200,
        )
    try:
        if found["pixels"] == "own":
            found |= _own_normalisation(key, known)
        size = facts.get("size") or found.get("input_size") or 0
        name = _dataset_field(facts, size, key)
        card = None if name == NO_DATASET else dataset(name).card
        if card is not None:
            said = tuple(facts.get("names", ()))
            differ = said and said != card.classes
            st.caption(
                f"In this order: {escape_markdown(', '.join(card.classes[:20]))}."
                + (f" The file says otherwise: {escape_markdown(', '.join(said[:20]))}." if differ else "")
            )
            classes: tuple[str, ...] = ()
        else:
            classes = _class_names(facts, key)
        title = st.text_input("Title", value=given.name.rsplit(".", 1)[0][:100], max_chars=100, key=key.format("title"))
        found = {key: value for key, value in found.items() if value is not None}
        size_here = card.image_size if card is not None and card.image_size != size else 0
        return Choices(**found, title=title, classes=classes, dataset=name, image_size=size_here), card
    except LabError as error:
        show_error(error)
        return None


def _own_normalisation(key: str, known: dict[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation of each colour. known: those that the file says."""
    found: dict[str, Any] = {}
    for name, usual in (("mean", 0.5), ("std", 0.25)):
        with st.container(horizontal=True, gap="small"):
            values = [
                st.number_input(
                    f"{LABELS[name]}, {colour}",
                    value=float(start),
                    format="%g",
                    step=0.01,
                    width=120,
                    key=key.format(f"{name}-{colour}"),
                )
                for colour, start in zip(("red", "green", "blue"), known.get(name, (usual,) * 3), strict=True)
            ]
        found[name] = tuple(float(value or 0.0) for value in values)
    return found


def _dataset_field(facts: dict[str, Any], size: int, key: str) -> str:
    """A dataset of this machine on which the network can be evaluated; those of another number of classes are left out, and the
    one whose names the file has comes first."""
    classes, names = facts.get("classes", 0), tuple(facts.get("names", ()))
    offered = [name for name, source in DATASETS.items() if source.task == "images" and dataset_status(name).ready]
    side = (
        size if size in IMAGE_SIZES else max(IMAGE_SIZES[0], *(each for each in IMAGE_SIZES if each <= max(size, 32)))
    )
    offered += [f"{folder.name}?size={side}" for folder in stored_folders()]
    known = {name: _classes_of(name) for name in offered}
    fitting = [name for name in offered if known[name] and (not classes or len(known[name]) == classes)]
    return str(
        st.selectbox(
            "Classes of",
            [NO_DATASET, *fitting],
            index=next((at for at, name in enumerate(fitting, 1) if known[name] == names), 0),
            format_func=lambda name: WORDS.get(name) or dataset_title(name),
            key=key.format("dataset"),
            help="Needed to evaluate and measure it. Datasets with another number of classes are left out.",
        )
    )


def _classes_of(name: str) -> tuple[str, ...]:
    """Of a dataset here; empty where it cannot be read, which the Datasets page explains."""
    try:
        dataset_status(name)
        return _read_classes(name.partition("?")[0])
    except LabError:
        return ()


@st.cache_data(max_entries=100, ttl=600, show_spinner="Reading the datasets")
def _read_classes(name: str) -> tuple[str, ...]:
    return dataset(name).card.classes


def _class_names(facts: dict[str, Any], key: str) -> tuple[str, ...]:
    text = st.text_area(
        "Class names",
        value="\n".join(facts.get("names", ())),
        placeholder="One on each line, in the order of its answers. Empty: class 0, class 1, …",
        key=key.format("classes"),
        height=120,
    )
    return tuple(line.strip() for line in (text or "").splitlines() if line.strip())


def _sample() -> np.ndarray:
    """(H, W, 3) uint8 of the image that it answers first. Raises LabError for one that cannot be read."""
    drawn = st.selectbox("Sample image", list(examples()), index=1, key="network-sample")
    with st.expander("Or a photo"):
        suffixes = sorted(suffix.lstrip(".") for suffix in SUFFIXES)
        photo = st.file_uploader("A photo", type=suffixes, key="network-photo", max_upload_size=MAX_PHOTO // 10**6)
    image = decode_image(photo.getvalue() if photo is not None else examples()[drawn]).rgb
    alt = f"Sample image: {drawn if photo is None else 'a photo'}"
    show_image(preview(image, 2 * SAMPLE_PX), width=SAMPLE_PX, alt=alt)
    return image


def _answered(tried: Tried) -> None:
    top = tried.answer["top"]
    if top:
        label, probability = top[0]
        st.markdown(f"### It says {escape_markdown(label)} · {probability:.0%}")
        rest = ", ".join(f"{escape_markdown(name)} {value:.0%}" for name, value in top[1:])
        st.caption(f"Then {rest}. Is that what it should say? If not, the range of pixels or the classes may be wrong.")
    else:
        st.markdown("### It can be loaded")
    show_answer(tried.answer)
    if st.button("Keep it", key="keep-network", type="primary", icon=":material/save:"):
        try:
            name = keep(tried)
        except LabError as error:
            show_error(error)
            return
        st.session_state[NUMBER] = st.session_state.get(NUMBER, 0) + 1
        set_address({"view": "One network", "network": name})
        st.rerun()
