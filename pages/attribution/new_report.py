"""Scores of methods over many test images, as a run: which methods, how many images, how long that takes, one button."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.attribution.baselines import BASELINES
from core.attribution.config import ScoresConfig
from core.attribution.evidence.cost import IMAGES_A_PROCESS, report_seconds
from core.attribution.kind import SCORES
from core.attribution.methods.registry import METHODS, get_method, methods_for
from core.checkpoints.store import CheckpointRef
from core.common.devices import cores, offered_devices
from core.common.errors import LabError
from core.data import DATASETS, dataset_sizes
from core.jobs.store import MAX_NAME
from pages.attribution.slow import costs_of
from pages.shared.copy_link import not_in_link
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.resources import explainer_of
from pages.shared.run_controls import start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.text import duration, escape_markdown, label_error, show_error
from pages.shared.url import linked
from pages.shared.url_values import number, several_of, write_several
from pages.shared.warmup import until_ready

METHODS_KEY, IMAGES_KEY, USUAL_IMAGES = "report-methods", "report-images", 50
STARTING_S = 10.0
ADVANCED = ("sensitivity_images", "baseline", "seed", "device")
LABELS = {
    "methods": "Methods",
    "images": "Test images",
    "sensitivity_images": "Images for max-sensitivity",
    "baseline": "Baseline",
    "seed": "Seed",
    "device": "Device",
}


def new_report_form(reference: CheckpointRef) -> None:
    """Raises LabError where the checkpoint cannot be read."""
    test = _test_images(reference)
    if test is None:
        return
    until_ready(everything=True)
    explainer = explainer_of(reference)
    every = methods_for(reference.card.model)
    refused = {name: why for name in every if (why := explainer.refusal(get_method(name)))}
    offered = [name for name in every if name not in refused]
    usual = [name for name in offered if METHODS[name].quick] or offered[:1]
    of = reference.card.fingerprint
    linked("score", METHODS_KEY, several_of(offered, "method", len(METHODS)), usual, write=write_several, of=of)
    linked("images", IMAGES_KEY, number(2, test, "the test images"), min(USUAL_IMAGES, test), of=of)
    methods = st.multiselect(
        "Methods", offered, format_func=lambda name: METHODS[name].title, key=METHODS_KEY, persist_state="session"
    )
    images = st.number_input(
        f"Test images, of {test:,}",
        2,
        test,
        key=IMAGES_KEY,
        width=220,
        persist_state="session",
        help="Drawn at random. Four times as many halve the intervals.",
    )
    with st.expander("Advanced", key="report-advanced"):
        given = _advanced()
        if refused:
            left_out = ", ".join(METHODS[name].title for name in refused)
            st.caption(f"Not for this network: {escape_markdown(left_out)}.")
    config = None
    try:
        config = ScoresConfig(
            checkpoint=reference.name,
            methods=tuple(methods),
            images=images,
            model=reference.card.model,
            dataset=reference.card.dataset.name,
            **given,
        )
        st.markdown(
            f"**About {duration(_expected_s(reference, config))}** on {cores()} cores, in the queue like any run."
        )
    except LabError as error:
        not_in_link("Settings that are not valid are not in the link: it has those before.")
        show_error(label_error(error, LABELS))
    start_job_button("Score the methods", SCORES, config, key="start-scores", name_key="report-name")


def _test_images(reference: CheckpointRef) -> int | None:
    """How many there are; None with a sentence on the page where they cannot be drawn."""
    data = reference.card.dataset
    if data.name in DATASETS:
        if not dataset_or_offer(data.name, "draw test images from it", "scores"):
            return None
        return data.sizes.get("test") or dataset_sizes(data.name).get("test", 0)
    try:
        count = dataset_sizes(data.name).get("test", 0)
    except LabError as error:
        show_error(error)
        return None
    if count < 2:
        st.info(
            f"{escape_markdown(data.title)} has {count} test images, and a report needs 2: add some, then train again."
        )
        return None
    return count


def _expected_s(reference: CheckpointRef, config: ScoresConfig) -> float:
    forward_s, backward_s = costs_of(reference)
    return STARTING_S + report_seconds(
        [get_method(name) for name in config.methods],
        reference.card.image_data.image_size,
        config.images,
        config.sensitivity_images,
        forward_s=forward_s,
        backward_s=backward_s,
        processes=max(1, min(cores(), config.images // IMAGES_A_PROCESS)),
    )


def _advanced() -> dict[str, Any]:
    st.text_input("Name of the run", key="report-name", placeholder="model and dataset", max_chars=MAX_NAME)
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        return settings_form(
            ScoresConfig,
            ADVANCED,
            {name: ScoresConfig.model_fields[name].default for name in ADVANCED},
            "report-{}",
            labels=LABELS,
            options={"device": offered_devices(), "baseline": tuple(BASELINES)},
        )
