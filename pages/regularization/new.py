"""A new study: choose, see what it costs and what the network will see, start."""

from __future__ import annotations

import re
from typing import Any

import streamlit as st

from core.common.commands import changed_settings
from core.common.devices import offered_devices
from core.common.errors import LabError
from core.data import FOLDER_PREFIX, canonical_name
from core.jobs.store import MAX_NAME
from core.models import MODELS
from core.regularization.kind import STUDY
from core.regularization.study import StudyConfig
from core.regularization.techniques import IMAGE_MODELS
from pages.regularization.arms import TITLES, arms_form, fill_arms, read_arms, specs
from pages.regularization.preview import preview
from pages.shared.copy_link import not_in_link
from pages.shared.dataset_field import FOLDER, allowed_name, dataset_field, folder_field
from pages.shared.run_controls import start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.study_cost import check_sizes, show_cost
from pages.shared.text import label_error, show_error
from pages.shared.url import give
from pages.shared.url_settings import Changes, keep_settings, linked_settings

QUICK = StudyConfig()
"""What the form begins with: done in minutes on two CPU cores."""
ADVANCED = ("steps", "batch_size", "lr", "evaluations", "device")
NAMES = ("model", "arms", "train_sizes", "seeds", *ADVANCED)
"""What the address carries of a study, beside its dataset: each before what depends on it."""
SET = "study-set"
FIELD_PX = 150
LABELS = TITLES | {
    "seeds": "Seeds",
    "steps": "Steps",
    "batch_size": "Images per step",
    "train_sizes": "Training images",
    "lr": "Learning rate",
    "evaluations": "Evaluations",
}
"""What the form calls the fields of a study."""
ONE_SEED = "With one seed there will be no verdict: it cannot separate an effect from chance. Take 2 or, better, 3."


TWO_SEEDS = "Two seeds say little about how far luck goes: take 3 or more where it matters."


def new_study_view() -> None:
    linked_settings(SET, "quick", QUICK, NAMES, _fill, shows=_shows)
    top = st.container()  # what a press starts and how long that takes stand first, on a phone too
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("#### What to train")
        model, dataset, train_sizes, seeds = _training()
        advanced = _advanced()
    with right:
        st.markdown("#### What to compare")
        arms = arms_form("new", model, tuple(arm.names[0] for arm in QUICK.parsed() if arm.names))
    with top:
        config = _start(model, dataset, train_sizes, arms, seeds | advanced)
    if config is None:
        not_in_link("Settings that are not valid are not in the link: it has those before.")
    else:
        changed = changed_settings(config, QUICK)
        keep_settings(SET, "quick", {name: changed[name] for name in NAMES if name in changed})
    if dataset.startswith(FOLDER_PREFIX):
        not_in_link("The path of your folder is not in the link.")
    preview(config)


def _shows(config: StudyConfig) -> bool:
    """Whether the form can show such a study."""
    try:
        read_arms(config.parsed())
    except LabError:
        return False
    return config.device in offered_devices()


def _fill(changes: Changes) -> None:
    """Put a study into the form, before it is drawn."""
    config = QUICK.replace(**changes)
    give("study-model", config.model)
    give("study-sizes", " ".join(map(str, config.train_sizes)))
    for name in ("seeds", *ADVANCED):
        give(f"study-{name}", getattr(config, name))
    fill_arms("new", read_arms(config.parsed()))


def _start(
    model: str, dataset: str, train_sizes: str, arms: list[tuple[str, ...]], settings: dict[str, Any]
) -> StudyConfig | None:
    """What the study takes, and the button that starts it; returns its settings where they are valid."""
    config = None
    try:
        if dataset == FOLDER:
            raise LabError("Give the path of a folder that holds one folder of images per class.")
        config = StudyConfig(
            model=model,
            dataset=canonical_name(allowed_name(dataset)),
            arms=specs("new", model, arms),
            train_sizes=parse_sizes(train_sizes),
            **settings,
        )
        check_sizes(config)
        show_cost(config)
    except LabError as error:
        config = None
        show_error(label_error(error, LABELS))
    if config is not None and config.seeds == 1:
        st.warning(ONE_SEED)
    if config is not None and config.seeds == 2:
        st.caption(TWO_SEEDS)
    start_job_button("Start the study", STUDY, config, key="start-study", name_key="study-name")
    return config


def sizes_field(label: str, key: str, default: str = "") -> str:
    """Numbers of training images as they are typed."""
    return st.text_input(
        label,
        value=default,
        key=key,
        placeholder="500 5000",
        persist_state="session",
        help="One number, or several with spaces between them: each is a separate comparison, and together they show what a "
        "technique is worth in labelled images. A larger set contains the smaller ones.",
    )


def parse_sizes(typed: str) -> tuple[int, ...]:
    """`500 2,000`, or `500,2000`, as numbers. Raises LabError for what is no whole number."""
    parts: list[str] = []
    for part in (piece.strip(",") for piece in re.split(r"[\s;/]+", typed)):
        thousands = re.fullmatch(r"\d{1,3}(,\d{3})+", part)
        parts += [part.replace(",", "")] if thousands else part.split(",")
    wrong = next((part for part in parts if part and not re.fullmatch(r"[0-9]{1,9}", part)), None)
    if wrong:
        raise LabError(f"{wrong[:40]!r} is no number of training images: give whole numbers, such as 500 5000.")
    return tuple(int(part) for part in parts if part)


def _training() -> tuple[str, str, str, dict[str, Any]]:
    left, right = st.columns(2)
    model = left.selectbox(
        "Model",
        IMAGE_MODELS,
        format_func=lambda name: MODELS[name].title + ("" if name == QUICK.model else " (slow without a GPU)"),
        key="study-model",
        persist_state="session",
    )
    with right:
        dataset = dataset_field("dataset")
    if dataset == FOLDER and (path := folder_field()):
        dataset = f"{FOLDER_PREFIX}{path}"
    left, right = st.columns([2, 1])
    with left:
        train_sizes = sizes_field("Training images", "study-sizes", " ".join(map(str, QUICK.train_sizes)))
    with right:
        given = settings_form(StudyConfig, ("seeds",), QUICK.to_dict(), "study-{}", labels=LABELS, width="stretch")
    return model, dataset, train_sizes, given


def _advanced() -> dict[str, Any]:
    with st.expander("Advanced", key="study-advanced"):
        st.text_input("Name of the study", key="study-name", placeholder="model and number", max_chars=MAX_NAME)
        with st.container(horizontal=True, gap="small"):
            return settings_form(
                StudyConfig,
                ADVANCED,
                QUICK.to_dict(),
                "study-{}",
                labels=LABELS,
                options={"device": offered_devices()},
                increments={"steps": 100, "batch_size": 8, "lr": 0.001},
                width=FIELD_PX,
            )
