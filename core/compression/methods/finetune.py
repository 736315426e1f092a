"""Training that goes on from a checkpoint: zeros stay zero, or more weights become zero on the way; a teacher may help.

One session for every step that trains; the trainer, its states and its resume are those of any other run.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from core.checkpoints.store import Card, Checkpoint, versions
from core.common.devices import hardware, pick_device
from core.common.errors import LabError
from core.compression.methods.child import child_checkpoint
from core.compression.methods.distill import SoftImageTask, SoftTextTask, Teaching
from core.compression.methods.pruning import apply_masks, cubic_amount, magnitude_masks, masks_of
from core.compression.methods.quant_aware import FakeQuantize
from core.compression.steps import Distill, FineTuningStep, LotteryTicket, PruneGradually, TrainingStep, TrainQuantized
from core.data.dataset import Dataset, ImageCard, ImageDataset, TextCard, TextDataset
from core.data.text import with_vocabulary
from core.models import LAYERS, build_model, full_config, images_at_once
from core.training.config import TrainConfig
from core.training.recipes import get_recipe, own_recipe
from core.training.session import TrainSession
from core.training.task import Task

IMAGE_LR, TEXT_LR, QUANTIZED_LR = 0.02, 1e-3, 2e-3
IMAGE_BATCH = 125
MASK_UPDATES = 60
"""How often the weights to prune are chosen anew on the way."""
TUNING = "fine-tuning"
"""Name of the recipe of a network that went on from another one's weights."""
KEPT_FOR_IMAGES = (
    "train_images",
    "train_on",
    "balance",
    "flip",
    "crop_padding",
    "cutout",
    "auto_augment",
    "augmentation",
    "augmix",
    "noise",
)
KEPT_FOR_TEXT = ("window", "batch_size", "state_reset")


def tune_config(card: Card, step: TrainingStep, *, seed: int, device: str) -> TrainConfig:
    """How a step trains: by the original's recipe, or gently, on its data and with its augmentation. Raises LabError."""
    common: dict[str, Any] = {
        "dataset": card.dataset.name,
        "epochs": step.epochs,
        "seed": seed,
        "keep": "last",
        "snapshots": 0,
        "device": device,
        "early_stopping": 0,
        "precision": "auto",  # what suited the machine of the original's training may not suit this one
        "compile": False,
        "init_from": "",  # the session gives it the checkpoint's weights
        "train_layers": "all",
        "eval_every": max(0.25, step.epochs / 6),
    }
    if isinstance(step, Distill):
        recipe = get_recipe(step.student, "default")
        settings = dict(recipe.model_settings) | step.student_config
        _, values = full_config(step.student, settings)
        window = min(recipe.window, getattr(values, "context", recipe.window))
        return recipe.replace(**common | {"model_config": settings, "lr": step.lr or recipe.lr, "window": window})
    common |= {"model": card.model, "model_config": card.model_config}
    # A Transformer's context is the window that it was trained with (core.training.text_task).
    context = getattr(full_config(card.model, card.model_config)[1], "context", None)
    window = {"window": context} if context else {}
    if isinstance(step, LotteryTicket):
        recipe = _first_recipe(card)
        return recipe.replace(**common | window | {"lr": step.lr or recipe.lr, "seed": recipe.seed})
    common |= {"recipe": TUNING}
    if isinstance(step, FineTuningStep) and step.schedule == "own" and (own := _own_recipe(card)):
        unmixed = {"mixup": 0.0, "cutmix": 0.0, "consistency": 0.0} if step.alpha else {}
        return own.replace(**common | window | unmixed | {"lr": step.lr or own.lr, "tta": "none"})
    common |= {"schedule": "cosine", "warmup": 0.05}
    if card.task == "text":
        kept = _usable(card.recipe, KEPT_FOR_TEXT) | window
        common |= {"optimizer": "adamw", "weight_decay": 0.01, "grad_clip": 1.0}
        return TrainConfig(**common | kept | {"lr": step.lr or TEXT_LR})
    kept = _usable(card.recipe, KEPT_FOR_IMAGES)
    common |= {"optimizer": "sgd", "weight_decay": 5e-4, "batch_size": images_at_once(card.model_config, IMAGE_BATCH)}
    lr = QUANTIZED_LR if isinstance(step, TrainQuantized) else IMAGE_LR
    return TrainConfig(**common | kept | {"lr": step.lr or lr})


def matching_dataset(card: Card, dataset: Dataset) -> Dataset:
    """The dataset as the network of a card takes it: with the card's normalisation. Raises LabError where it is no longer the
    one that the network was trained on."""
    new, old = dataset.card, card.dataset
    if isinstance(dataset, ImageDataset) and isinstance(old, ImageCard):
        new = dataset.card
        if (new.classes, new.image_size) == (old.classes, old.image_size):
            return dataclasses.replace(dataset, card=dataclasses.replace(new, mean=old.mean, std=old.std))
        what = "classes or the size of images"
    elif isinstance(dataset, TextDataset) and isinstance(old, TextCard):
        new = dataset.card
        known = with_vocabulary(dataset, old.vocabulary)
        if known is not None:
            return known
        what = "characters"
    else:
        what = "kind of data"
    raise LabError(
        f"{new.title[:100]} no longer has the {what} that {card.title[:100]} was trained on: put the data back as they were."
    )


def _own_recipe(card: Card) -> TrainConfig | None:
    """How all layers of the network were trained; None where its card does not say it."""
    own = own_recipe(card)
    return own if own and own.train_layers == "all" else None  # what trains a head would tear the other layers apart


def _first_recipe(card: Card) -> TrainConfig:
    """How a network was trained from its first weights. Raises LabError where its card does not say it."""
    recipe = _own_recipe(card)
    if recipe is None or recipe.init_from or recipe.recipe == TUNING or card.model_config.get(LAYERS):
        raise LabError(
            f"The first weights of {card.title[:100]} are not known from its card, so it cannot be trained again from its "
            "beginning: choose Fine-tune."
        )
    return recipe


def _usable(recipe: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The settings of a recipe that are there and valid."""
    found = {}
    for name in names:
        try:
            TrainConfig(**{name: recipe[name]})
            found[name] = recipe[name]
        except (KeyError, TypeError, LabError):
            continue
    return found


class FineTuneSession(TrainSession):
    """A training session that starts from a checkpoint. Run it with `core.training.trainer.train`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        step: TrainingStep,
        dataset: Dataset,
        *,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.checkpoint, self.step = checkpoint, step
        self.masks: dict[str, torch.Tensor] = {}
        self.fake_quantize: FakeQuantize | None = None
        config = tune_config(checkpoint.card, step, seed=seed, device=device)
        super().__init__(config, matching_dataset(checkpoint.card, dataset), pick_device(config.device))

    def teach(self, teaching: Teaching) -> None:
        """Let a teacher help. Before the first step, or before a saved state is loaded."""
        assert isinstance(self.task, SoftImageTask | SoftTextTask)
        self.task.teach(teaching)

    def _new_task(self, dataset: Dataset) -> Task:
        if isinstance(dataset, ImageDataset):
            return SoftImageTask(self.config, dataset, self.device, self.dtype, self.amp)
        return SoftTextTask(self.config, dataset, self.device, self.amp)

    def _first_weights(self) -> None:
        super()._first_weights()
        if isinstance(self.step, Distill):
            return
        trained = self.checkpoint.model
        if isinstance(self.step, LotteryTicket):
            self.masks = magnitude_masks(trained, self.step.amount, self.step.scope)
        else:
            try:
                self.model.load_state_dict(trained.state_dict())
            except RuntimeError as error:
                raise LabError(
                    f"{self.dataset_card.title[:100]} has changed since {self.checkpoint.card.title[:100]} was trained on it: "
                    "put the data back as they were."
                ) from error
            self.masks = masks_of(trained)
            if isinstance(self.step, TrainQuantized):
                self.fake_quantize = FakeQuantize(self.model)
        self.masks = {name: mask.to(self.device) for name, mask in self.masks.items()}
        apply_masks(self.model, self.masks)

    @torch.no_grad()
    def after_step(self) -> None:
        if isinstance(self.step, PruneGradually):
            done, total = self.counters.step, self.total_steps
            every = max(1, total // MASK_UPDATES)
            if done % every == 0 or done == total:
                amount = cubic_amount(done, total, self.step.amount)
                self.masks = magnitude_masks(self.model, amount, self.step.scope)
        apply_masks(self.model, self.masks)
        if self.average is not None:
            apply_masks(self.average.model, self.masks)

    def result(self) -> Checkpoint:
        """The current network, as a checkpoint made from the first one."""
        card = self.card(self.checkpoint.card.title)
        return Checkpoint(self.checkpoint.name, card, self._plain().eval().requires_grad_(False))

    def card(self, title: str, metrics: dict[str, Any] | None = None) -> Card:
        trained, origin = super().card(title, metrics), self.checkpoint
        if isinstance(self.step, Distill):
            student = dataclasses.replace(origin.card, model=trained.model, model_config=trained.model_config)
            origin = dataclasses.replace(origin, card=student)
        made = child_checkpoint(origin, self._plain(), self.step).card
        return dataclasses.replace(
            made,
            title=title,
            metrics=metrics or {},
            recipe=trained.recipe,
            seed=trained.seed,
            step=trained.step,
            epoch=trained.epoch,
            versions=versions(),
            hardware=hardware(self.device),
        )

    def state_dict(self) -> dict[str, Any]:
        own = {"masks": self.masks, "rounding": self.fake_quantize.state_dict() if self.fake_quantize else {}}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.masks = {name: mask.to(self.device) for name, mask in state["masks"].items()}
        if self.fake_quantize is not None:
            self.fake_quantize.load_state_dict(state["rounding"])

    def _plain(self) -> nn.Module:
        """A network of the same weights, on the CPU, that computes as usual."""
        with torch.random.fork_rng(devices=[]):
            model = build_model(self.config.model, self.model_config)
        model.load_state_dict(self.eval_model().state_dict())
        return model
