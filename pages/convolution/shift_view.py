"""Convolution / Shift: the answer while the image moves by whole pixels, with each kind of pooling."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.common.errors import LabError
from core.common.progress import Progress
from pages.convolution.help import shift_help
from pages.convolution.shift import shift_board
from pages.shared.elements import show_table
from pages.shared.network_query import NetworkQuery, ask_network, has_dataset
from pages.shared.resources import dataset
from pages.shared.tasks import background
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked
from pages.shared.url_values import number

if TYPE_CHECKING:
    from core.convolution.shift import Consistency, Shifts

WITH = {
    "trained": "the network as it is",
    "max": "max pooling",
    "average": "average pooling",
    "stride": "stride alone",
    "blur": "anti-aliasing",
}
REACH = "shift-reach"
FIRST_REACH = 4
TEST_IMAGES, SEED = 500, 0


def shift_view() -> None:
    answer = st.container()
    controls, image = st.columns([3, 2], gap="large")
    with image:
        asked = ask_network()
    if asked is None:
        return
    with controls:
        linked("reach", REACH, number(1, 8, "the reach"), FIRST_REACH)
        reach = int(st.slider("Pixels in each direction", 1, 8, key=REACH, persist_state="session"))
    with answer:
        try:
            with st.spinner("Moving the image"):
                found = shifts(asked.key, asked.pixels, reach, _asked=asked)
        except LabError as error:
            show_error(error)
            return
        count = next(iter(found.values())).answers.size - 1
        st.markdown(
            f"## Moved by {_pixels(reach)}, the image gets another answer at "
            + _listed({kind: str(item.changed) for kind, item in found.items()}, f"{count} shifts")
        )
        shift_board("shift-board", asked.pixels, {_title(kind, found): found[kind] for kind in found}, asked.classes)
        st.caption("Blue: the probability of the answer in place. An orange square: another answer.")
        if (label := asked.image.label) in asked.classes:
            right = {kind: str(int((item.answers == asked.classes.index(label)).sum())) for kind, item in found.items()}
            st.markdown(
                f"The true class is {escape_markdown(label)}, the answer at {_listed(right, f'{count + 1} places')}."
            )
        accuracies = st.empty()
        if len(found) == 1:
            st.caption("This network has no max pooling and no stride that another could replace.")
    with controls:
        measured = _consistency(asked, reach)
    if measured:
        first = next(iter(measured.values()))
        listed = _listed(
            {kind: f"{item.accuracy:.1%}" for kind, item in measured.items()}, f"{first.images:,} test images"
        )
        accuracies.markdown(f"A steady answer need not be right. In place, the answer is right on {listed}.")
    shift_help()


def _pixels(reach: int) -> str:
    return "one pixel" if reach == 1 else f"up to {reach} pixels"


def _listed(values: dict[str, str], of: str) -> str:
    """`19 of 80 shifts with max pooling, 1 with average pooling`."""
    first, *others = values.items()
    rest = "".join(f", {value} with {WITH[kind]}" for kind, value in others)
    return f"{first[1]} of {of} with {WITH[first[0]]}{rest}"


def _title(kind: str, found: Collection[str]) -> str:
    words = WITH[kind].capitalize()
    return words if kind != next(iter(found)) else "As trained" if kind == "trained" else f"As trained: {WITH[kind]}"


@st.cache_data(max_entries=32, show_spinner=False)
def shifts(key: str, pixels: np.ndarray, reach: int, *, _asked: NetworkQuery) -> dict[str, Shifts]:
    """By kind of pooling."""
    from core.convolution.shift import shifted_answers, variants

    return {
        kind: shifted_answers(network, pixels, reach, _asked.temperature)
        for kind, network in variants(_asked.checkpoint).items()
    }


def _consistency(asked: NetworkQuery, reach: int) -> dict[str, Consistency] | None:
    """By kind of pooling; None until it is counted."""
    st.markdown("**On test images**")
    if not has_dataset(asked):
        return None
    key = f"consistency-{asked.key}-{reach}"

    def work(report: Progress) -> dict[str, Consistency]:
        from core.convolution.shift import consistency, variants

        test, networks = dataset(asked.reference.card.dataset.name).test, variants(asked.checkpoint)
        return {
            kind: consistency(
                network,
                test.images[:TEST_IMAGES],
                test.labels[:TEST_IMAGES],
                reach,
                SEED,
                lambda share, words, place=place: report((place + share) / len(networks), words),
            )
            for place, (kind, network) in enumerate(networks.items())
        }

    found: dict[str, Consistency] | None = background(key, "count-shifts", work, label="Count on test images")
    if found is None:
        return None
    images = next(iter(found.values())).images
    changed = {kind: f"{100 * (1 - item.same / item.images):.0f}%" for kind, item in found.items()}
    listed = _listed(changed, f"{images:,} test images")
    st.markdown(f"Two random shifts by {_pixels(reach)} get different answers on {listed}.")
    show_table(
        {
            "Network": [_title(kind, found) for kind in found],
            "Same answer": [
                f"{100 * item.same / item.images:.1f}% ({100 * item.interval[0]:.1f}–{100 * item.interval[1]:.1f}%)"
                for item in found.values()
            ],
            "Accuracy": [f"{100 * item.accuracy:.1f}%" for item in found.values()],
        },
        key="shift-table",
    )
    st.caption("95% intervals.")
    return found
