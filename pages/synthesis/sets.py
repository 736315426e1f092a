"""Synthesis / Evidence, New set and Sets: images that were made and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.common.pixels import enlarge, from_png
from core.jobs import Run, RunStore
from core.synthesis.config import MOST_IMAGES, SynthesisConfig
from core.synthesis.figures import recognised_figure
from core.synthesis.kind import SYNTHESIS
from core.synthesis.results import Copies, ImageSet, Rate
from pages.shared.cost import show_time
from pages.shared.elements import download, folded, show_figure, show_image, show_table
from pages.shared.number_field import linked_number
from pages.shared.resources import dark, loaded
from pages.shared.run_controls import note_nothing_yet, start_job_button
from pages.shared.tables import json_bytes
from pages.shared.text import duration, escape_markdown, show_error
from pages.shared.warmup import until_ready
from pages.synthesis.query import ask_generator

if TYPE_CHECKING:
    from core.synthesis.cost import StepCosts

COUNT = "synthesis-images"
SHEET_PX, PAIR_PX, PAIRS_SHOWN = 640, 72, 6


def read(runs: RunStore, run_id: str) -> ImageSet:
    """What there is of a set. Raises LabError."""
    from core.synthesis.job import read_set

    return read_set(runs.folder(run_id), runs.config(run_id))


def new_set_view() -> None:
    said = st.container()  # what a press makes stands first, on a phone too
    asked = ask_generator()
    if asked is None:
        return
    count = int(linked_number("Images", 20, MOST_IMAGES, 2000, key=COUNT, param="images", step=100))
    said.markdown(
        f"{count:,} images, as many of each class as of any other. They are compared with real images and kept as a dataset, so "
        "that a classifier can train on them."
    )
    config = None
    try:
        from core.synthesis.cli import config_for

        config = config_for(
            asked.reference.name, images=count, guidance=asked.guidance, steps=asked.steps, seed=asked.seed
        )
    except LabError as error:
        show_error(error)
    if config is not None:
        _time(config, asked.reference)
    start_job_button("Make the images", SYNTHESIS, config, key="start-set", name_key="set-name")


def _time(config: SynthesisConfig, reference: CheckpointRef) -> None:
    """What the set will take."""
    until_ready()
    try:
        from core.synthesis.cost import set_seconds

        making, comparing = set_seconds(config, _costs(reference.card.fingerprint, _checkpoint=loaded(reference)))
    except LabError as error:
        show_error(error)
        return
    show_time(making, config.dataset, f" to make them, and up to {duration(comparing)} to compare them")


@st.cache_resource(max_entries=8, show_spinner="Measuring how fast this machine is")
def _costs(fingerprint: str, *, _checkpoint: Checkpoint) -> StepCosts:
    from core.synthesis.cost import step_costs

    return step_costs(_checkpoint)


def set_view(found: ImageSet, key: str, run: Run | None) -> None:
    if not found.measured:
        note_nothing_yet(run, f"{found.headline}.", "Then they are compared with real ones.")
        return
    st.markdown(f"## {escape_markdown(found.headline)}")
    if found.copy_sentence:
        st.markdown(f"**{found.copy_sentence}.**")
    if found.sheet:
        show_image(
            enlarge(from_png(found.sheet), SHEET_PX),
            width=SHEET_PX,
            alt=f"Images of {', '.join(found.classes)}, a column each",
        )
        st.caption(escape_markdown(" · ".join(found.classes)))
    _numbers(found)
    if found.recognised_by_class:
        show_figure(
            recognised_figure(found, dark=dark()),
            key=f"recognised-{key}",
            alt="Share of generated images of each class that a classifier names so",
        )
    for way, copies in found.copies.items():
        folded(
            f"Most like a training image, by {way}",
            lambda copies=copies, way=way: _pairs(copies, way),  # type: ignore[misc]
            key=f"pairs-{way}-{key}",
            param=f"pairs-{way}",
        )
    folded("Files", lambda: _files(found, key, run), key=f"files-{key}", param="files", icon=":material/download:")
    made = " · ".join(escape_markdown(found.made[name]) for name in ("hardware", "date") if found.made.get(name))
    config = found.config
    st.caption(f"{found.config.images:,} images, guidance {config.guidance:g}, {config.steps} steps. {made}")


def _numbers(found: ImageSet) -> None:
    rows = []
    if found.distance is not None and found.floor is not None:
        floor = f"{found.floor:.2f}, the floor: between two halves of the real images"
        times = f", {found.distance / found.floor:.0f} times the floor" if found.floor else ""
        rows.append(("Distance to real images", f"{found.distance:.2f}{times}", floor))
    if found.recognised and found.real_recognised:
        rows.append(("Class named by Fast ResNet", found.recognised.words, _real(found.real_recognised)))
    for way, copies in found.copies.items():
        rows.append((f"Called copies, by {way}", copies.generated.words, _real(copies.held_out)))
    if not rows:
        st.caption("This dataset has too few images that the generator did not see: nothing can be compared.")
        return
    columns = dict(zip(("What", "Generated images", "Real images"), zip(*rows, strict=True), strict=True))
    show_table({name: list(values) for name, values in columns.items()}, key="set-numbers")
    st.caption(
        f"Distance: how far two sets of {found.compared:,} images lie apart in what our own Fast ResNet makes of them (Fréchet "
        "distance), less is better; it compares with no published FID. Real images are the control: test images, which no "
        "network here was trained on."
    )


def _real(rate: Rate) -> str:
    return f"{rate.words} of {rate.images:,}"


def _pairs(copies: Copies, way: str) -> None:
    st.caption(f"Below {copies.limit:.2f} an image is called a copy. Left the generated image, right its nearest.")
    with st.container(horizontal=True, gap="medium"):
        for pair in copies.closest[:PAIRS_SHOWN]:
            with st.container(width=2 * PAIR_PX + 12, gap="xxsmall"):
                both = np.concatenate([from_png(pair.image), from_png(pair.nearest)], axis=1)
                alt = f"Generated {pair.label} beside its nearest training image, {pair.nearest_label}, by {way}"
                show_image(enlarge(both, 4 * PAIR_PX), width=2 * PAIR_PX, alt=alt)
                st.caption(escape_markdown(f"{pair.label} | {pair.nearest_label}: {pair.ratio:.2f}"))


def _files(found: ImageSet, key: str, run: Run | None) -> None:
    download("All numbers (JSON)", json_bytes(found.to_dict()), "generated-set.json", key=f"json-{key}")
    if run is not None:
        st.caption(f"As a dataset these images are called generated:{escape_markdown(run.id)}.")
