"""Test images to which a variant gives another answer than the original."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.common.errors import LabError
from core.common.pixels import enlarge
from core.compression.recipe import ORIGINAL
from core.compression.results import Measurement
from core.data import DATASETS
from core.data.dataset import ImageDataset
from pages.compression.result_files import ResultFiles
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import show_image
from pages.shared.resources import dataset
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked
from pages.shared.url_values import one_of

A_PAGE = 12
THUMBNAIL_PX = 96
FILTERS = ("All", "Original right", "Variant right", "Neither right")


def differences(made: ResultFiles, item: Measurement, key: str) -> None:
    """Count, filter, and thumbnails by page."""
    st.markdown("#### Test images on which they disagree")
    first, own = made.answers(ORIGINAL), made.answers(item.id)
    if first is None or own is None or len(first) != len(own):
        st.caption("The answers to the test images are not kept with this result, so there is nothing to look at here.")
        return
    name = made.result.config.dataset
    if name in DATASETS and not dataset_or_offer(name, "show its test images", f"differ-{key}"):
        return
    try:
        data = dataset(name)
    except LabError as error:
        show_error(error)
        return
    labels = np.asarray(data.test.labels)
    if len(labels) != len(first):
        st.caption("The dataset has other test images now than when this was measured.")
        return
    differ = np.flatnonzero(first != own)
    parts = dict(zip(FILTERS, _parts(differ, labels, first, own), strict=True))
    st.markdown(
        f"**{len(differ):,} of {len(labels):,}**: the original is right on {len(parts[FILTERS[1]]):,} of them, the variant on "
        f"{len(parts[FILTERS[2]]):,}, neither on {len(parts[FILTERS[3]]):,}."
    )
    if not len(differ):
        return
    linked("differ", f"differ-{key}", one_of(FILTERS, "part"), FILTERS[0])
    chosen = st.segmented_control("Show", FILTERS, required=True, key=f"differ-{key}", persist_state="session")
    found = parts[chosen]
    if not len(found):
        st.caption("There is none of these.")
        return
    pages = -(-len(found) // A_PAGE)
    images = st.container(horizontal=True, gap="small")
    page = 1
    if pages > 1:
        page = st.pagination(pages, key=f"differ-page-{key}-{item.id}-{chosen}") or 1
    with images:
        for index in found[(page - 1) * A_PAGE : page * A_PAGE]:
            _one(data, int(index), int(first[index]), int(own[index]))


def _parts(differ: np.ndarray, labels: np.ndarray, first: np.ndarray, own: np.ndarray) -> list[np.ndarray]:
    """Indices of the images behind each filter."""
    truth = labels[differ]
    ours, theirs = own[differ] == truth, first[differ] == truth
    return [differ, differ[theirs], differ[ours], differ[~ours & ~theirs]]


def _one(data: ImageDataset, index: int, first: int, own: int) -> None:
    truth = int(data.test.labels[index])

    def name(answer: int) -> str:
        known = 0 <= answer < len(data.card.classes)
        right = " :material/check:" if answer == truth else ""
        return (escape_markdown(data.card.classes[answer]) if known else "–") + right

    with st.container(width=THUMBNAIL_PX + 40, gap="xsmall"):
        show_image(
            enlarge(data.test.images[index], THUMBNAIL_PX),
            width=THUMBNAIL_PX,
            alt=f"Test image {index}: {data.card.classes[truth]}",
        )
        st.caption(
            f"**{escape_markdown(data.card.classes[truth])}** ({index})  \noriginal: {name(first)}  \nvariant: {name(own)}"
        )
