"""Shift / Renditions: the same things drawn, and new photographs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.common.progress import Progress
from core.shift.emoji import DOWNLOAD_BYTES, MIRRORS, NAMES, Emoji, example_emoji, has_emoji, load_emoji
from core.shift.official import has_new_test, load_new_test
from core.shift.renditions import RENDITIONS, Renditions
from core.shift.results import Figure
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.elements import download, folded, show_figure, show_table
from pages.shared.network_query import FIRST
from pages.shared.resources import dark, loaded
from pages.shared.tables import csv_bytes
from pages.shared.tasks import start_button, watch
from pages.shared.text import escape_markdown, show_error, size
from pages.shared.url import linked
from pages.shared.url_values import one_of
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.data.dataset import Split

EMOJI_TASK, NEW_TEST_TASK = "fetch-emoji", "fetch-cifar10-1"
COLUMNS = 6
SHEET_PX = 72 * COLUMNS
LOOKS = {"google-white": "Noto on white", "google-grey": "Noto on grey", "twitter-white": "Twemoji on white"} | {
    "twitter-grey": "Twemoji on grey"
}


def renditions_view() -> None:
    reference = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint", prefer=FIRST)
    if reference is None:
        return
    try:
        emoji = _emoji(everything=has_emoji())
        found = _renditions(reference, emoji)
    except LabError as error:
        show_error(error)
        return
    _answer(found)
    _images(found, reference, emoji)
    if not has_emoji():
        _offer(found)
    folded("By class", lambda: _classes(found), key="shift-classes", param="classes")
    folded("New photographs: CIFAR-10.1", lambda: _new_test(reference), key="shift-new-test", param="photos")


def _renditions(reference: CheckpointRef, emoji: list[Emoji]) -> Renditions:
    """What ships for just these weights and all emoji, or measured now on those that are here. Raises LabError."""
    for name in RENDITIONS.shipped_names():
        shipped = RENDITIONS.load_shipped(name)
        if shipped.fingerprint == reference.card.fingerprint:
            return shipped
    until_ready()
    return _measured(reference.card.fingerprint, len(emoji), _checkpoint=loaded(reference), _emoji=emoji)


@st.cache_resource(max_entries=16, show_spinner="Classifying the drawings")
def _measured(fingerprint: str, count: int, *, _checkpoint: Checkpoint, _emoji: list[Emoji]) -> Renditions:
    from core.shift.renditions import measure_renditions

    return measure_renditions(_checkpoint, _emoji)


@st.cache_resource(show_spinner=False)
def _emoji(*, everything: bool) -> list[Emoji]:
    """All of them, or those that ship."""
    return load_emoji() if everything else example_emoji()


def _offer(found: Renditions) -> None:
    """Says what there is beyond the drawings that ship, and offers to fetch it."""
    if watch(EMOJI_TASK, quiet=True):
        return
    packages = " and ".join(
        f"{mirror.archive.filename.removesuffix('.tgz')} ({size(mirror.archive.size_bytes)})"
        for mirror in MIRRORS.values()
    )
    count = len(NAMES)
    shown = f"You see ten of the {count} emoji" if found.things == count else f"Ten of {count} emoji are measured here"
    st.info(
        f"{shown}, those that ship with the lab. The others are fetched from npm, in the packages {escape_markdown(packages)}. "
        f"Only their {2 * count} drawings are kept.",
        icon=":material/download:",
    )

    def fetch(report: Progress) -> None:
        load_emoji(report)

    start_button(f"Fetch the emoji ({size(DOWNLOAD_BYTES)})", EMOJI_TASK, fetch, button="fetch-emoji")


def _answer(found: Renditions) -> None:
    st.markdown(f"## {escape_markdown(found.answer)}")
    shares = found.by("background") | found.by("vendor")
    words = {"white": "on white", "grey": "on grey", "google": "by Google", "twitter": "by Twitter"}
    parts = ", ".join(f"{100 * shares[name].mean:.0f}% {text}" for name, text in words.items() if name in shares)
    st.caption(
        f"{found.things} emoji of CIFAR-10's ten classes: {parts}. The interval counts each emoji once. The warning flags "
        f"{100 * found.flagged:.0f}%."
    )


def _classes(found: Renditions) -> None:
    show_table(
        {
            "Class": list(found.by("label")),
            "Named right": [figure.percent for figure in found.by("label").values()],
            "Emoji": [
                str(len({item.name for item in found.items if item.label == label})) for label in found.by("label")
            ],
        },
        key="renditions-classes",
    )
    download("All answers (CSV)", lambda: _csv(found), "renditions.csv", key="renditions-csv")


def _csv(found: Renditions) -> bytes:
    import dataclasses

    return csv_bytes(dataclasses.asdict(item) for item in found.items)


def _images(found: Renditions, reference: CheckpointRef, emoji: list[Emoji]) -> None:
    from core.shift.figures import Tile, sheet
    from core.shift.renditions import rendered

    linked("look", "shift-look", one_of(LOOKS, "kind of drawing"), next(iter(LOOKS)))
    look = st.segmented_control(
        "Drawings", list(LOOKS), required=True, format_func=LOOKS.__getitem__, key="shift-look", persist_state="session"
    )
    vendor, _, background = str(look).partition("-")
    answers = {item.name: item for item in found.items if (item.vendor, item.background) == (vendor, background)}
    tiles = [
        Tile(
            pixels=rendered(item, background, reference.card.image_data.image_size),
            words=answers[item.name].answer,
            marked=not answers[item.name].right,
            more=f"{item.name.lower()}: {answers[item.name].answer} {100 * answers[item.name].probability:.0f}%",
        )
        for item in emoji
        if item.vendor == vendor and item.name in answers
    ]
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    with st.container(width=SHEET_PX):
        show_figure(
            sheet(rows, [""] * len(rows), [], dark=dark()),
            key=f"renditions-{look}",
            alt="Drawings and answers: " + "; ".join(tile.more for tile in tiles),
        )
    st.caption("Each as the network sees it, with its answer; framed where that is wrong.")


def _new_test(reference: CheckpointRef) -> None:
    if watch(NEW_TEST_TASK, quiet=True):
        return
    if not has_new_test():
        st.markdown(
            "CIFAR-10.1 holds 2,000 new photographs of the same ten classes "
            "([Recht et al. 2018](https://arxiv.org/abs/1806.00451)); published networks lose 4 to 10 points on it. It is not on "
            "this machine, and no figure of it ships, because it could not be fetched where this was made."
        )

        def fetch(report: Progress) -> None:
            load_new_test(report)

        start_button("Fetch CIFAR-10.1 (6 MB)", NEW_TEST_TASK, fetch, button="fetch-new-test")
        return
    until_ready()
    try:
        found = _on_new_test(reference.card.fingerprint, _checkpoint=loaded(reference))
    except LabError as error:
        show_error(error)
        return
    st.markdown(f"**{escape_markdown(reference.label)} is right on {found.percent} of CIFAR-10.1**, in one view.")


@st.cache_data(max_entries=16, show_spinner="Classifying CIFAR-10.1")
def _on_new_test(fingerprint: str, *, _checkpoint: Checkpoint) -> Figure:
    from core.shift.measure import check_ten_classes, measure_split

    check_ten_classes(_checkpoint)
    split: Split = load_new_test()
    return measure_split(_checkpoint, split)
