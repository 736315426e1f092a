"""Convolution / Shift: the answer while the image moves by whole pixels, with each kind of pooling."""

from __future__ import annotations

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
from pages.shared.tasks import find, start_button, watch
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked
from pages.shared.url_values import number

if TYPE_CHECKING:
    from core.convolution.shift import Consistency, Shifts

TITLES = {
    "max": "As trained: max pooling",
    "average": "Average pooling",
    "stride": "Stride, no pooling",
    "blur": "Anti-aliased pooling",
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
        first = next(iter(found.values()))
        label = escape_markdown(asked.classes[int(first.answers[reach, reach])])
        count = {kind: round(item.same * item.answers.size) for kind, item in found.items()}
        also = f", with anti-aliased pooling one answer at {count['blur']}" if "blur" in count else ""
        st.markdown(f"## It says {label} at {count['max']} of {first.answers.size} shifts{also}")
        titles = {("As trained" if len(found) == 1 else TITLES[kind]): item for kind, item in found.items()}
        shift_board("shift-board", asked.pixels, titles, asked.classes)
        st.caption("Blue: the probability of the answer in place. An orange square: another answer.")
        if len(found) == 1:
            st.caption("This network has no max pooling that another could replace.")
    with controls:
        _consistency(asked, reach)
    shift_help()


@st.cache_data(max_entries=32, show_spinner=False)
def shifts(key: str, pixels: np.ndarray, reach: int, *, _asked: NetworkQuery) -> dict[str, Shifts]:
    """By kind of pooling."""
    from core.convolution.shift import shifted_answers, variants

    return {
        kind: shifted_answers(network, pixels, reach, _asked.temperature)
        for kind, network in variants(_asked.checkpoint).items()
    }


def _consistency(asked: NetworkQuery, reach: int) -> None:
    st.markdown("**On test images**")
    if not has_dataset(asked):
        return
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

    if watch(key):
        return
    task = find(key)
    if task is None or task.result is None:
        start_button("Count on test images", key, work, button="count-shifts")
        return
    found: dict[str, Consistency] = task.result
    show_table(
        {
            "Pooling": [TITLES[kind] for kind in found],
            "Same answer": [
                f"{100 * item.same / item.images:.1f}% ({100 * item.interval[0]:.1f}–{100 * item.interval[1]:.1f}%)"
                for item in found.values()
            ],
            "Accuracy": [f"{100 * item.accuracy:.1f}%" for item in found.values()],
        },
        key="shift-table",
    )
    count = next(iter(found.values())).images
    st.caption(f"{count:,} test images, two random shifts of up to {reach} pixels each; 95% intervals.")
