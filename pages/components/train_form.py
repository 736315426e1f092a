"""The settings of a new run: a recipe, the few that matter, and all others under Advanced."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.data import DATASETS, FOLDER_PREFIX, canonical_name
from core.devices import apple_gpu, nvidia_gpus
from core.errors import LabError
from core.models import MODELS
from core.training import config as config_module
from core.training.config import TrainConfig, field_docs
from core.training.recipes import RECIPES, describe_recipe

SHOWN = ("model", "recipe", "dataset", "epochs", "seed", "device", "model_config")
CHOICES = {
    "optimizer": config_module.OPTIMIZERS,
    "schedule": config_module.SCHEDULES,
    "precision": config_module.PRECISIONS,
    "flip": config_module.FLIPS,
    "average": config_module.AVERAGES,
    "tta": config_module.TTA_LEVELS,
    "train_on": ("train", "train+validation"),
}
FOLDER = "A folder of mine"


def train_form(advanced: DeltaGenerator) -> TrainConfig:
    """The form as a checked config; what few people change goes into `advanced`. Raises LabError for a bad value."""
    left, right = st.columns(2)
    model = left.selectbox("Model", list(MODELS), format_func=lambda name: MODELS[name].title, key="model")
    recipes = RECIPES[model]
    # A key per model and recipe: choosing another one brings its own values, and coming back finds the edited ones.
    recipe = right.selectbox("Recipe", list(recipes), format_func=str.capitalize, key=f"recipe-{model}")
    st.caption(f"{MODELS[model].description} {describe_recipe(model, recipe)}")
    preset, key = recipes[recipe], f"{model}-{recipe}"
    changes: dict[str, Any] = {}
    left, right = st.columns(2)
    with left:
        changes["dataset"] = _dataset()
    with right:
        changes["device"] = _device()
    if changes["dataset"] == FOLDER:
        changes["dataset"] = _folder()
    left, right = st.columns(2)
    changes["epochs"] = left.number_input(
        "Epochs", value=float(preset.epochs), step=1.0, format="%g", key=f"epochs-{key}", help=field_docs()["epochs"]
    )
    changes["seed"] = right.number_input(
        "Seed", value=preset.seed, step=1, key=f"seed-{key}", help=field_docs()["seed"]
    )
    with advanced:
        for field in dataclasses.fields(TrainConfig):
            if field.name not in SHOWN:
                changes[field.name] = _field(field.name, getattr(preset, field.name), f"{field.name}-{key}")
    if None in changes.values():
        raise LabError("A field is empty: give it a number.")
    return preset.replace(**changes)


def _dataset() -> str:
    return st.selectbox(
        "Dataset",
        [*DATASETS, FOLDER],
        format_func=lambda name: DATASETS[name].title if name in DATASETS else name,
        key="dataset",
    )


def _folder() -> str:
    path = st.text_input(
        "Path of the folder on this server",
        key="folder",
        placeholder="/home/me/pictures",
        help="It holds train/<class>/*.png, or one folder per class; test/<class>/ too, if there is one.",
    )
    if not (path or "").strip():
        raise LabError("Give the path of a folder that holds one folder of pictures per class.")
    return canonical_name(f"{FOLDER_PREFIX}{path.strip()}")  # whole: the worker has another working directory


def _device() -> str:
    gpus = [f"cuda:{index}" for index in range(nvidia_gpus())] + (["mps"] if apple_gpu() else [])
    return st.selectbox("Device", ["auto", *gpus, "cpu"], key="device", help=field_docs()["device"])


def _field(name: str, value: Any, key: str) -> Any:
    label, help_text = name.replace("_", " ").capitalize(), field_docs()[name]
    if name in CHOICES:
        options = list(CHOICES[name])
        return st.selectbox(label, options, index=options.index(value), key=key, help=help_text)
    if isinstance(value, bool):
        return st.checkbox(label, value=value, key=key, help=help_text)
    if isinstance(value, int):
        return st.number_input(label, value=value, step=1, key=key, help=help_text)
    return st.number_input(label, value=float(value), step=_step(value), format="%g", key=key, help=help_text)


def _step(value: float) -> float:
    """A tenth of the value's order of magnitude, for the plus and minus buttons."""
    return float(10.0 ** (math.floor(math.log10(abs(value))) - 1)) if value else 0.01
