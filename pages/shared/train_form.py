"""The settings of a new run: a recipe, the few that matter, and all others under Advanced."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.common.devices import offered_devices
from core.common.errors import LabError
from core.data import FOLDER_PREFIX, canonical_name
from core.models import MODELS
from core.training import config as config_module
from core.training.config import TrainConfig, field_docs
from core.training.recipes import RECIPES, describe_recipe
from pages.shared.dataset_field import (
    FOLDER,
    TEXT_FILE,
    dataset_field,
    folder_field,
    text_field,
    text_upload,
)
from pages.shared.text import size

SHOWN = ("model", "recipe", "dataset", "epochs", "seed", "device", "model_config")
CHOICES = {
    "optimizer": config_module.OPTIMIZERS,
    "schedule": config_module.SCHEDULES,
    "precision": config_module.PRECISIONS,
    "flip": config_module.FLIPS,
    "auto_augment": config_module.AUTO_AUGMENTS,
    "average": config_module.AVERAGES,
    "keep": config_module.KEEPS,
    "tta": config_module.TTA_LEVELS,
    "train_on": ("train", "train+validation"),
}
OTHER_TASK = {"images": config_module.TEXT_ONLY, "text": (*config_module.IMAGES_ONLY, "head_lr")}
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
STEPS = {"l1": 1e-5, "mixup": 0.1, "cutmix": 0.1}
"""What plus and minus add to a field that is usually 0, where a hundredth would be far too much or little."""
SNAPSHOTS = {"images": 6, "text": 0}
"""What the form proposes. A recipe keeps none: a study is hundreds of runs."""
RESIZING = ("widths", "width")
"""Settings of a model that change how many weights it has."""
FIELD_PX = 128
"""Two beside each other in the narrow column and on a phone, six above an open run."""


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
    changes["epochs"] = left.number_input(
        "Epochs",
        value=float(preset.epochs),
        step=1.0,
        format="%g",
        key=f"epochs-{key}",
        help=field_docs()["epochs"],
        persist_state="session",
    )
    changes["seed"] = right.number_input(
        "Seed", value=preset.seed, step=1, key=f"seed-{key}", help=field_docs()["seed"], persist_state="session"
    )
    with advanced:
        for field in dataclasses.fields(TrainConfig):
            if field.name not in SHOWN and field.name not in OTHER_TASK[task]:
                value = SNAPSHOTS[task] if field.name == "snapshots" else getattr(preset, field.name)
                widget = f"{field.name}-{key}"
                grey = _without_effect(field.name, changes) or (
                    field.name == "state_reset" and not MODELS[model].recurrent
                )
                given = _field(field.name, value, widget, disabled=grey, task=task)
                changes[field.name] = value if grey else given  # what cannot be changed cannot be wrong
    if None in changes.values():
        raise LabError("A field is empty: give it a number.")
    # Checked last: an error before would take the fields below it away, and what was entered there with them.
    if changes["dataset"] == FOLDER:
        if not folder:
            raise LabError("Give the path of a folder that holds one folder of pictures per class.")
        changes["dataset"] = canonical_name(f"{FOLDER_PREFIX}{folder}")  # whole: a worker has its own working directory
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
    if any(name in config.model_config for name in RESIZING):
        cost = f"{count} times the size of its weights on disk"
    else:
        one = 4 * MODELS[config.model].parameters
        cost = f"{count} × {size(one)}, about {size(count * one)} on disk"
    return f"Snapshots, to see later how it learned: {cost}. Set Snapshots under Advanced to 0 to keep none."


def _device() -> str:
    return st.selectbox("Device", offered_devices(), key="device", help=field_docs()["device"])


def labels() -> dict[str, str]:
    """What the form calls each field, without its unit."""
    return {field.name: _label(field.name).partition(" (")[0] for field in dataclasses.fields(TrainConfig)}


def _label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " ").capitalize())


def _without_effect(name: str, chosen: dict[str, Any]) -> bool:
    """Whether a field does nothing beside what was chosen in those before it."""
    if name == "head_lr":
        return chosen["optimizer"] != "muon"
    if name == "bias_lr":
        return chosen["optimizer"] not in ("muon", "sgd")
    return name in ("average_decay", "average_every") and chosen["average"] == "none"


def _field(name: str, value: Any, key: str, *, disabled: bool, task: str) -> Any:
    label = "Streams" if name == "batch_size" and task == "text" else _label(name)
    common: dict[str, Any] = {
        "key": key,
        "help": field_docs()[name],
        "disabled": disabled,
        "width": FIELD_PX,
        "persist_state": "session",  # also while another recipe is looked at
    }
    if name in CHOICES:
        options = [option for option in CHOICES[name] if not (option == "muon" and task == "text")]
        return st.selectbox(label, options, index=options.index(value), **common)
    if isinstance(value, bool):
        return st.checkbox(label, value=value, **common)
    if isinstance(value, int):
        return st.number_input(label, value=value, step=1, **common)
    return st.number_input(label, value=float(value), step=STEPS.get(name) or _step(value), format="%g", **common)


def _step(value: float) -> float:
    """A tenth of the value's order of magnitude, for the plus and minus buttons."""
    return float(10.0 ** (math.floor(math.log10(abs(value))) - 1)) if value else 0.01
