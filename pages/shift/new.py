"""Shift / New measurement: which checkpoints, on which corruptions."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import CheckpointRef, list_checkpoints
from core.common.errors import LabError
from core.common.values import plural
from core.data.dataset import NO_DATASET
from core.shift.catalogue import COMMON, CORRUPTIONS
from core.shift.cli import new_config
from core.shift.config import MOST_CHECKPOINTS, ShiftConfig
from core.shift.kind import SHIFT
from core.shift.official import TAR, has_corrupted
from pages.shared.cost import answer_s, show_time
from pages.shared.network_query import FIRST
from pages.shared.run_controls import start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.text import escape_markdown, show_error, size, unique_labels
from pages.shared.url import linked, linked_flag
from pages.shared.url_values import several_of, write_several
from pages.shared.warmup import until_ready

CHOSEN, FOUR = "shift-checkpoints", "shift-four"
WORDS = {"recomputed": "Recomputed here", "official": "Official files"}


def new_view() -> None:
    references = {
        reference.name: reference
        for reference in list_checkpoints(task="images")
        if reference.card.dataset.name != NO_DATASET
    }
    if not references:
        st.info("There is no checkpoint yet: train one under Images, and it can be measured here.")
        return
    labels = unique_labels({name: reference.label for name, reference in references.items()})
    usual = [FIRST] if FIRST in references else [next(iter(references))]
    linked(
        "checkpoints",
        CHOSEN,
        several_of(references, "checkpoint", MOST_CHECKPOINTS),
        usual,
        write=write_several,
    )
    st.session_state[CHOSEN] = [name for name in st.session_state[CHOSEN] if name in references]
    chosen = st.multiselect(
        "Checkpoints",
        list(references),
        format_func=lambda name: labels[name],
        key=CHOSEN,
        max_selections=MOST_CHECKPOINTS,
        help="All answer the same images. The first is what the others are compared with.",
        persist_state="session",
    )
    with st.expander("More settings", icon=":material/tune:", key="shift-more"):
        with st.container(horizontal=True):
            values = settings_form(
                ShiftConfig, ("images", "files", "seed"), ShiftConfig().to_dict(), "shift-{}", labels={}, words=WORDS
            )
        linked_flag("four", FOUR)
        four = st.checkbox("Also speckle noise, Gaussian blur, spatter and saturate", key=FOUR, persist_state="session")
        st.text_input("Name", key="shift-name", placeholder="Shift")
    if values["files"] == "official" and not has_corrupted():
        st.info(
            f"The official files are not on this machine ({size(TAR.archive.size_bytes)}). Fetch them on the command line: "
            "python -m core shift official. They could not be tried where this was made, only files made in their format."
        )
    config = None
    try:
        config = new_config(tuple(chosen), corruptions=tuple(CORRUPTIONS) if four else COMMON, **values)
    except LabError as error:
        show_error(error)
    if config is not None:
        _time(config, [references[name] for name in chosen])
        st.caption(escape_markdown(_work(config)))
    start_job_button("Measure", SHIFT, config, key="start-shift", name_key="shift-name")


def _time(config: ShiftConfig, chosen: list[CheckpointRef]) -> None:
    """What the measurement will take."""
    until_ready()
    try:
        from core.shift.cost import measurement_seconds

        corrupt_s = _corrupt_s(chosen[0].card.image_data.image_size)
        seconds = measurement_seconds(config, corrupt_s, [answer_s(reference) for reference in chosen])
    except LabError as error:
        show_error(error)
        return
    show_time(seconds, config.dataset)


@st.cache_resource(max_entries=8, show_spinner="Measuring how fast this machine is")
def _corrupt_s(side: int) -> dict[str, float]:
    from core.shift.cost import corrupt_seconds

    return corrupt_seconds(side)


def _work(config: ShiftConfig) -> str:
    count = config.images * (1 + 5 * len(config.corruptions))
    answers = plural(len(config.checkpoints), "checkpoint")
    return f"{count:,} images to make, and {answers} to answer them. A stop keeps what is done."
