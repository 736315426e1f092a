"""Images / Train and Text / Train: settings on the left, the run of this URL on the right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.common.devices import likely_device
from core.common.errors import LabError
from core.data import dataset_state, dataset_status, dataset_title
from core.jobs.store import MAX_NAME
from core.models import MODELS
from core.training.config import TrainConfig
from core.training.estimate import estimate_seconds, measured_speed
from core.training.kind import TRAIN
from pages.shared.resources import dataset, runs_now
from pages.shared.run_controls import find_run, job_line, start_job_button
from pages.shared.sidebar import active_runs
from pages.shared.start_field import fetch_words
from pages.shared.text import duration, escape_markdown, label_error, show_error
from pages.shared.train_form import examples_of, labels, train_form, value_words
from pages.shared.train_help import train_help
from pages.shared.train_panel import PARAM, train_panel
from pages.shared.warmup import until_ready

RECENT = 3
"""Runs that stand beside the form."""
MOST_SAID = 3
"""Changed settings that stand beside Start."""


def train_view(task: str = "images") -> None:
    run_id, run, problem = st.query_params.get(PARAM), None, ""
    try:
        run = find_run(run_id) if run_id else None
    except LabError as error:
        problem = str(error)
    if run:
        # The run is what one came for, on a phone too: it takes the width, and the form steps back.
        # A key of each run's own, so that the box closes when a new run takes its place.
        with st.expander("New run", icon=":material/add:", key=f"new-run-{run.id}"):
            _new_run(task, in_address=False)
        train_panel(run)
        _others(run.id)
    else:
        settings, live = st.columns(2, gap="large")
        with settings:
            st.markdown("#### New run")
            _new_run(task)
        with live:
            if problem:
                show_error(problem)
            _nothing_chosen(task)
    train_help(task)


def _others(run_id: str) -> None:
    others = [run for run in active_runs() if run.id != run_id]
    if others:
        st.markdown("**Also under way**")
        for run in others:
            job_line(run)


def _new_run(task: str, *, in_address: bool = True) -> None:
    config = None
    # What a press starts and how long that takes stand first, on a phone too.
    top, form = st.container(), st.container()
    with st.expander("Advanced"):
        st.text_input("Name of the run", key="run-name", placeholder="model and recipe", max_chars=MAX_NAME)
        advanced = st.container(gap="xsmall")
    try:
        with form:
            config, proposed = train_form(advanced, task, in_address=in_address)
        with top:
            st.markdown(escape_markdown(_expectation(config)))
        if proposed:
            top.caption(
                _changed_words(config, proposed, MOST_SAID), help=_changed_words(config, proposed, len(proposed))
            )
    except LabError as error:
        with top:  # beside the button that it turns grey, wherever the field is
            show_error(label_error(error, labels()))
    with top:
        start_job_button("Start training", TRAIN, config, key="start", name_key="run-name")


def _changed_words(config: TrainConfig, proposed: Mapping[str, Any], most: int) -> str:
    """The changed settings under Advanced as Markdown, each with what the form begins with."""
    names = labels()
    said = [
        f"{names[name]} {value_words(getattr(config, name))} (was {value_words(value)})"
        for name, value in proposed.items()
    ]
    more = f" and {len(said) - most} more" if len(said) > most else ""
    return escape_markdown(f"Changed: {', '.join(said[:most])}{more}.")


def _expectation(config: TrainConfig) -> str:
    """What will be trained, how long it takes, and what has to be fetched first; says so where nobody knows."""
    what, sentences = f"{MODELS[config.model].title} on {dataset_title(config.dataset)}", []
    seconds, examples = None, examples_of(config)
    if examples:
        device = likely_device(config.device)
        seconds = estimate_seconds(config, device, examples, _generator_speed(config, device))
    if seconds is None:
        sentences.append(f"{what}: time unknown until it was measured here.")
    else:
        sentences.append(f"{what}: about {duration(seconds)} on this machine.")
    sentences += filter(None, [fetch_words(config)])
    try:
        status = dataset_status(config.dataset)
        if not status.ready:
            sentences.append(status.sentence)
    except LabError as error:
        sentences.append(str(error))
    return " ".join(sentences)


def _generator_speed(config: TrainConfig, device: str) -> float | None:
    """Training images per second out of one step here; None for other networks, where a run was measured, or where the
    dataset is not here yet. Raises LabError."""
    if MODELS[config.model].task != "generation" or device != "cpu" or measured_speed(config, device):
        return None
    if not dataset_status(config.dataset).ready:
        return None
    until_ready()
    settings = f"{config.model} {config.model_settings} {config.optimizer} {config.precision}"
    return _trial_speed(settings, dataset_state(config.dataset), _config=config)


@st.cache_resource(max_entries=16, show_spinner="Measuring one training step")
def _trial_speed(settings: str, state: str, *, _config: TrainConfig) -> float:
    from core.training.trial import trial_speed

    return trial_speed(_config, dataset(_config.dataset).card)


def _nothing_chosen(task: str) -> None:
    st.markdown("A run goes on when you close this tab.")
    try:
        recent = [run for run in runs_now() if run.kind == TRAIN.name and run.task == task][:RECENT]
    except LabError as error:
        show_error(error)
        return
    if recent:
        st.markdown("**Recent runs**")
        for run in recent:
            job_line(run)
