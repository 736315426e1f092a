"""Starting from what a network has learned: the checkpoint that `init_from` names, and what a run takes over from it."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from core.checkpoints.backbone import BACKBONES, fetch_backbone
from core.checkpoints.store import Card, Checkpoint, find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.data.dataset import Dataset, ImageDataset, TextDataset
from core.data.text import extend_vocabulary
from core.models import MODELS, head_name
from core.training.config import TrainConfig


def load_parent(config: TrainConfig, on_progress: Progress | None = None) -> Checkpoint | None:
    """The checkpoint that a run starts from, a backbone fetched first where it is missing; None for random weights.

    Raises LabError where there is none of that name, or the config asks for another network.
    """
    if not config.init_from:
        return None
    check_start(config)
    if config.init_from in BACKBONES:
        fetch_backbone(config.init_from, on_progress)
    return load_checkpoint(find_checkpoint(config.init_from))


def check_start(config: TrainConfig) -> None:
    """Raises LabError where a run cannot start from what it names, as far as that is known without the data or a fetch."""
    if config.init_from in BACKBONES:
        _check_model(config, BACKBONES[config.init_from].title, BACKBONES[config.init_from].name)
    elif config.init_from:
        card = find_checkpoint(config.init_from).card
        _check_model(config, card.title, card.model)
        _check_validation(config, card)


def _check_model(config: TrainConfig, title: str, model: str) -> None:
    if config.model != model:
        its, wanted = (MODELS[name].title if name in MODELS else name[:60] for name in (model, config.model))
        raise LabError(
            f"{title[:100]} is a {its}, not a {wanted}: set model to {model[:60]}, or start from another checkpoint."
        )


def _check_validation(config: TrainConfig, card: Card) -> None:
    """The parent must not have learned from the images that the run is measured on."""
    saw_validation = card.recipe.get("train_on", "train") != "train" and card.dataset.name == config.dataset
    if saw_validation and card.task != "text" and config.train_on == "train":
        raise LabError(
            f"{card.title[:100]} was trained on the validation images of {card.dataset.title[:100]} too: set train_on to "
            "train+validation, or start from another checkpoint."
        )


def inherit(config: TrainConfig, dataset: Dataset, parent: Checkpoint) -> tuple[TrainConfig, Dataset]:
    """The run's config with the parent's model settings under its own, and the dataset as the parent's network takes it: with its
    normalisation, or with its vocabulary and behind that the characters it did not know. Raises LabError for data of another
    kind."""
    card = parent.card
    own = {key: value for key, value in card.model_config.items() if key not in ("classes", "image_size", "vocabulary")}
    config = config.replace(model_config=own | config.model_settings)
    if isinstance(dataset, ImageDataset) and card.task != "text":
        data = card.pixel_data
        return config, dataclasses.replace(
            dataset, card=dataclasses.replace(dataset.card, mean=data.mean, std=data.std)
        )
    if isinstance(dataset, TextDataset) and card.task == "text":
        return config, extend_vocabulary(dataset, card.text_data.vocabulary)
    what = "text" if card.task == "text" else "images"
    raise LabError(
        f"{card.title[:100]} learned from {what}: choose {what} to train on, or start from another checkpoint."
    )


@torch.no_grad()
def copy_weights(model: nn.Module, parent: Checkpoint, dataset: Dataset) -> None:
    """Put the parent's weights into a fresh model; what depends on classes or characters that the parent does not know stays
    as it is. Raises LabError where the two are different networks."""
    old, new = parent.model.state_dict(), model.state_dict()
    fresh: tuple[str, ...] = ()
    if isinstance(dataset, ImageDataset):
        head = head_name(model)
        shapes = {key: value.shape for key, value in new.items() if key.startswith(f"{head}.")}
        same_head = all(key in old and old[key].shape == shape for key, shape in shapes.items())
        if not same_head or dataset.card.classes != parent.card.pixel_data.classes:
            fresh = tuple(shapes)
    for key, value in new.items():
        if key in fresh:
            continue
        before = old.get(key)
        if before is None or not _fits(before, value, text=isinstance(dataset, TextDataset)):
            raise LabError(
                f"The weights of {parent.card.title[:100]} do not fit these settings of the model ({key} has another size): "
                "leave the model's settings out."
            )
        value[tuple(slice(size) for size in before.shape)].copy_(before)


def _fits(before: torch.Tensor, value: torch.Tensor, *, text: bool) -> bool:
    """Whether a tensor takes the parent's; of a language model also one with more rows, those of new characters."""
    if before.shape == value.shape:
        return True
    return text and before.ndim == value.ndim > 0 and before.shape[1:] == value.shape[1:] and len(before) < len(value)
