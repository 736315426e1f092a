"""A new recipe: pick a checkpoint, put steps together, see what they will take, start."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from core.checkpoints.store import CheckpointRef, find_checkpoint
from core.common.commands import changed_settings
from core.common.devices import offered_devices
from core.common.errors import LabError
from core.compression.kind import COMPRESS
from core.compression.recipe import PRESETS, CompressConfig, make
from core.data import DATASETS, dataset_status
from core.jobs.store import MAX_NAME
from core.models import MODELS
from pages.compression.cost import cost_line
from pages.compression.fields import LABELS
from pages.compression.scan import scan
from pages.compression.steps import chosen_steps, fill_steps, preset_cards, preset_key, preset_name, steps_form
from pages.shared.checkpoint_picker import checkpoint_picker, describe
from pages.shared.copy_link import not_in_link
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.run_controls import start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.text import label_error, show_error
from pages.shared.url import give, linked, set_address
from pages.shared.url_settings import PARAM as SET
from pages.shared.url_settings import Changes, keep_settings, linked_settings
from pages.shared.url_values import one_of

TASKS = {"images": "Images", "text": "Text"}
PARAM = "checkpoint"
FIELD_PX = 130
ADVANCED_NAMES = ("seed", "threads", "device")
NAMES = ("steps", *ADVANCED_NAMES)
"""What the address carries of a recipe where it differs from the preset's."""
ADVANCED = {"seed": "Seed", "threads": "Threads to measure with"}


def new_recipe_view() -> None:
    left, right = st.columns([1, 2], gap="large")
    with left:
        task = choose_task()
        reference = checkpoint_picker("Checkpoint", f"compress-{task}", param=PARAM, task=task, originals=True)
        if reference is None:
            return
    with right:
        preset_cards(task, reference.card.parameters)
    begin = _begin(task)
    keep = "preset" not in st.query_params  # as of the preset
    linked_settings(_set_key(task), begin.recipe, begin, NAMES, partial(_fill, task, begin), shows=_shows, keep=keep)
    start = left.container()
    with st.expander("Customize", icon=":material/tune:", key="recipe-customize"):
        rows = steps_form(task)
    advanced = _advanced(reference)
    with start:
        config = None
        try:
            steps = chosen_steps(rows)
            name = preset_name(task, steps)
            config = make(reference.name, reference.card, steps, name, **advanced)
            dataset_status(reference.card.dataset.name)  # raises for photos that were deleted
            changed = changed_settings(config, begin)
            keep_settings(_set_key(task), begin.recipe, {name: changed[name] for name in NAMES if name in changed})
            st.markdown(cost_line(config))
            if "steps" in changed:
                st.caption("The steps differ from the preset's: see Customize.")
        except LabError as error:
            not_in_link("Settings that are not valid are not in the link: it has those before.")
            show_error(label_error(error, LABELS | ADVANCED))
        icon = ":material/compress:"
        start_job_button("Compress", COMPRESS, config, key="start-recipe", name_key="recipe-name", icon=icon)
        if reference.card.dataset.name in DATASETS:
            dataset_or_offer(reference.card.dataset.name, "train and to measure accuracy on", "compress")
    scan(reference)


def _set_key(task: str) -> str:
    return f"recipe-set-{task}"


def _begin(task: str) -> CompressConfig:
    """The chosen preset, for whatever checkpoint of the task."""
    preset = st.session_state[preset_key(task)]
    model = next(name for name, entry in MODELS.items() if entry.task == task)
    steps = tuple(step.to_dict() for step in PRESETS[preset].steps)
    return CompressConfig(checkpoint="any", model=model, steps=steps, recipe=preset)


def _shows(config: CompressConfig) -> bool:
    """Whether the form offers such choices."""
    return config.device in offered_devices()


def _fill(task: str, begin: CompressConfig, changes: Changes) -> None:
    """Put steps and settings into the form, before it is drawn."""
    config = begin.replace(**changes)
    fill_steps(task, config.parsed())
    for name in ADVANCED_NAMES:
        give(f"recipe-{name}", getattr(config, name))


def choose_task() -> str:
    """Images or text; a link that names a checkpoint decides."""
    usual, wanted = "images", st.query_params.get(PARAM)
    if wanted:
        try:
            usual = find_checkpoint(wanted).card.task
        except LabError:
            pass  # the picker says what is wrong with it
    linked("task", "compress-task", one_of(TASKS, "kind of network"), usual)
    return st.segmented_control(
        "Kind of network",
        list(TASKS),
        required=True,
        format_func=TASKS.__getitem__,
        key="compress-task",
        label_visibility="collapsed",
        on_change=_other_task,
        persist_state="session",
    )


def _other_task() -> None:
    """Checkpoint and changed settings of the address are of the other kind."""
    query = st.query_params.to_dict() | {"task": st.session_state["compress-task"]}
    set_address({param: text for param, text in query.items() if param not in (PARAM, SET)})


def _advanced(reference: CheckpointRef) -> dict[str, Any]:
    with st.expander("Advanced", key="recipe-advanced"):
        st.caption(describe(reference))
        st.text_input("Name of the run", key="recipe-name", placeholder="model and recipe", max_chars=MAX_NAME)
        with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
            return settings_form(
                CompressConfig,
                ADVANCED_NAMES,
                {name: CompressConfig.model_fields[name].default for name in ADVANCED_NAMES},
                "recipe-{}",
                labels=ADVANCED,
                options={"device": offered_devices()},
                width=FIELD_PX,
            )
