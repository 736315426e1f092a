"""The settings of a new run: a recipe, the few that matter, and all others under Advanced."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.common.devices import offered_devices
from core.common.errors import LabError
from core.common.settings import choices, field_help, fields_of
from core.data import FOLDER_PREFIX, canonical_name, check_layout
from core.models import MODELS
from core.training.config import IMAGES_ONLY, TEXT_ONLY, TrainConfig
from core.training.recipes import RECIPES, describe_recipe
from pages.shared.dataset_field import (
    FOLDER,
    TEXT_FILE,
    dataset_field,
    folder_field,
    text_field,
    text_upload,
)
from pages.shared.settings_form import label_of, settings_form
from pages.shared.text import size

FIELDS = fields_of(TrainConfig)
SHOWN = ("model", "recipe", "dataset", "epochs", "seed", "device", "model_config")
OTHER_TASK = {"images": TEXT_ONLY, "text": (*IMAGES_ONLY, "head_lr")}
"""Fields that mean nothing for a task."""
LABELS = {
    "train_images": "Images (0 = all)",
    "grad_accumulation": "Pieces per batch",
    "lr": "Learning rate",
    "bias_lr": "Rate of biases",
    "head_lr": "Rate of the head",
    "warmup": "Warm-up",
    "grad_clip": "Clip gradients at",
    "l1": "L1 penalty",
    "crop_padding": "Crop shift (px)",
    "auto_augment": "Auto-augment",
    "cutout": "Cutout (px)",
    "mixup": "Mixup (alpha)",
    "cutmix": "CutMix (alpha)",
    "average": "Average weights",
    "average_decay": "Decay of average",
    "average_every": "Average every",
    "early_stopping": "Early stopping",
    "eval_every": "Evaluate every",
    "probe_images": "Probe images",
    "keep": "Keep weights",
    "tta": "Test-time views",
    "compile": "torch.compile",
    "window": "Window (characters)",
}
"""Where a field's own name is not the words for it."""
INCREMENTS = {"l1": 1e-5, "mixup": 0.1, "cutmix": 0.1}
"""What plus and minus add to a field that is usually 0, where a hundredth would be far too much or little."""
SNAPSHOTS = {"images": 6, "text": 0}
"""What the form proposes. A recipe keeps none: a study is hundreds of runs."""
RESIZING = ("widths", "width")
"""Settings of a model that change how many weights it has."""


def train_form(advanced: DeltaGenerator, task: str = "images") -> TrainConfig:
    """The form as a checked config; what few people change goes into `advanced`. Raises LabError for a bad value."""
    left, right = st.columns(2)
    models = [name for name, entry in MODELS.items() if entry.task == task]
    prefix = "" if task == "images" else f"{task}-"
    model = left.selectbox("Model", models, format_func=lambda name: MODELS[name].title, key=f"{prefix}model")
    recipes = RECIPES[model]
    # A key per model and recipe: choosing another one brings its own values, and coming back finds the edited ones.
    names = sorted(recipes, key=lambda name: name != "quick") if task == "text" else list(recipes)
    recipe = right.selectbox("Recipe", names, format_func=str.capitalize, key=f"recipe-{model}")
    st.caption(f"{MODELS[model].description} The recipe: {describe_recipe(model, recipe)}")
    preset, key = recipes[recipe], f"{model}-{recipe}"
    changes: dict[str, Any] = {}
    left, right = st.columns(2)
    with left:
        changes["dataset"] = dataset_field() if task == "images" else text_field()
    with right:
        changes["device"] = _device()
    folder = folder_field() if changes["dataset"] == FOLDER else ""
    uploaded, problem = text_upload() if changes["dataset"] == TEXT_FILE else ("", "")
    left, right = st.columns(2)
    for column, name in ((left, "epochs"), (right, "seed")):
        with column:
            changes |= settings_form(
                TrainConfig,
                [name],
                {name: getattr(preset, name)},
                f"{{}}-{key}",
                labels=LABELS,
                increments={"epochs": 1.0},
                width="stretch",
            )
    names = [name for name in FIELDS if name not in (*SHOWN, *OTHER_TASK[task])]
    text = task == "text"
    with advanced:
        changes |= settings_form(
            TrainConfig,
            names,
            {name: getattr(preset, name) for name in names} | {"snapshots": SNAPSHOTS[task]},
            f"{{}}-{key}",
            labels=LABELS | ({"batch_size": "Streams"} if text else {}),
            options={"optimizer": [name for name in choices(FIELDS["optimizer"]) if not (name == "muon" and text)]},
            increments=INCREMENTS,
            disabled=lambda name, chosen: (
                _without_effect(name, chosen) or (name == "state_reset" and not MODELS[model].recurrent)
            ),
        )
    # Checked last: an error before would take the fields below it away, and what was entered there with them.
    if changes["dataset"] == FOLDER:
        if not folder:
            raise LabError("Give the path of a folder that holds one folder of images per class.")
        changes["dataset"] = canonical_name(f"{FOLDER_PREFIX}{folder}")  # whole: a worker has its own working directory
        check_layout(changes["dataset"])
    if changes["dataset"] == TEXT_FILE:
        if not uploaded:
            raise LabError(problem or "Choose a text file: UTF-8, at least 1,000 characters, at most 20 MB.")
        changes["dataset"] = uploaded
    config = preset.replace(**changes)
    if config.snapshots:
        st.caption(_room(config))
    return config


def _room(config: TrainConfig) -> str:
    """What the snapshots take on disk."""
    count = 1 + min(config.snapshots, max(0, math.ceil(config.epochs / config.eval_every) - 1))
    if any(name in config.model_settings for name in RESIZING):
        cost = f"{count} times the size of its weights on disk"
    else:
        one = 4 * MODELS[config.model].parameters
        cost = f"{count} × {size(one)}, about {size(count * one)} on disk"
    return f"Snapshots, to see later how it learned: {cost}. Set Snapshots under Advanced to 0 to keep none."


def _device() -> str:
    return st.selectbox("Device", offered_devices(), key="device", help=field_help(FIELDS["device"]))


def labels() -> dict[str, str]:
    """What the form calls each field, without its unit."""
    return {name: label_of(name, LABELS).partition(" (")[0] for name in FIELDS}


def _without_effect(name: str, chosen: Mapping[str, Any]) -> bool:
    """Whether a field does nothing beside what was chosen in those before it."""
    if name == "head_lr":
        return chosen["optimizer"] != "muon"
    if name == "bias_lr":
        return chosen["optimizer"] not in ("muon", "sgd")
    return name in ("average_decay", "average_every") and chosen["average"] == "none"
