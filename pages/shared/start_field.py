"""What a training starts from: random weights, ImageNet weights, or a checkpoint and how to go on from it."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.backbone import BACKBONES, is_fetched
from core.checkpoints.store import CheckpointRef, list_checkpoints
from core.compression.recipe import is_compressed
from core.models import DESIGNS, MODELS
from core.training.config import TrainConfig
from core.training.recipes import RECIPES, STARTS, recipe_from
from pages.shared.text import unique_labels
from pages.shared.url_select import url_select

RANDOM = "random"
START_PARAM = "from"
HOW = {"longer": "Train for longer", "fine-tuning": "Fine-tune all layers", "head": "Train the last layer only"}


def start_field(task: str, *, in_address: bool) -> TrainConfig:
    """The recipe that was chosen; of a checkpoint `longer`, its dataset is the checkpoint's."""
    references = {reference.name: reference for reference in list_checkpoints(task=task) if _trainable(reference)}
    backbones = {name: f"ImageNet weights ({MODELS[name].title})" for name in BACKBONES if MODELS[name].task == task}
    labels = unique_labels(
        {RANDOM: "Random weights"} | backbones | {name: each.label for name, each in references.items()}
    )
    start = url_select(
        "Start from",
        list(labels),
        f"{task}-start",
        START_PARAM if in_address else "",
        titles=lambda name: labels.get(name, name),
    )
    left, right = st.columns(2)
    if start in references:
        names = [how for how in STARTS if how != "head" or task == "images"]
        with left:
            how = url_select(
                "How",
                names,
                f"{task}-how",
                "recipe" if in_address else "",
                titles=HOW.__getitem__,
                elsewhere=_recipes(task),
            )
        return recipe_from(references[start].card, start, how)
    models = [name for name, entry in DESIGNS.items() if entry.task == task and name not in BACKBONES]
    with left:
        model = start
        if start == RANDOM:
            model = url_select(
                "Model",
                models,
                "model" if task == "images" else f"{task}-model",
                "model" if in_address else "",
                titles=lambda name: MODELS[name].title,
                elsewhere=list(BACKBONES),
            )
    # Quick comes first: a first run should end while one watches it.
    names = sorted(RECIPES[model], key=lambda name: name != "quick")
    with right if start == RANDOM else left:
        name = url_select(
            "Recipe",
            names,
            f"recipe-{model}",
            "recipe" if in_address else "",
            titles=lambda name: HOW["head"] if RECIPES[model][name].train_layers == "head" else name.capitalize(),
            elsewhere=[*_recipes(task), *STARTS],
        )
    return RECIPES[model][name]


def fetch_words(config: TrainConfig) -> str:
    """What has to be fetched of the weights that a run starts from; empty where nothing has."""
    if config.init_from not in BACKBONES or is_fetched(config.init_from):
        return ""
    archive = BACKBONES[config.init_from].mirrors[0].archive
    return f"Its ImageNet weights are fetched when it starts ({archive.size_bytes / 1e6:.0f} MB)."


def _recipes(task: str) -> list[str]:
    return [name for model in RECIPES if MODELS[model].task == task for name in RECIPES[model]]


def _trainable(reference: CheckpointRef) -> bool:
    card = reference.card
    return card.model in DESIGNS and not is_compressed(card)
