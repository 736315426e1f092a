"""Training a classifier of images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.common.errors import LabError
from core.data import subset
from core.data.dataset import DatasetCard, ImageDataset, Split
from core.models import images_at_once
from core.models.tta import tta_logits
from core.training.augmix import js_divergence
from core.training.batches import DeviceImages, class_weights, epoch_batches
from core.training.config import TrainConfig
from core.training.extra import with_extra
from core.training.task import Batch, Validation

WHITENING_IMAGES = 5000


class ImageTask:
    """See core.training.task.Task."""

    def __init__(
        self, config: TrainConfig, dataset: ImageDataset, device: str, dtype: torch.dtype, amp: torch.autocast
    ) -> None:
        train = dataset.train
        if config.train_on == "train+validation":
            train = Split(
                images=np.concatenate([train.images, dataset.validation.images]),
                labels=np.concatenate([train.labels, dataset.validation.labels]),
            )
        if config.train_images:
            train = subset(train, config.train_images, config.seed)
        train, self.extra_card = with_extra(config, dataset.card, train)
        if len(train) == 0 or len(dataset.validation) == 0:
            raise LabError(f"{dataset.card.title} has no training or no validation images: add some to each class.")
        self.config, self.device, self.amp = config, device, amp
        self.card: DatasetCard = dataset.card
        self.train = train
        self.train_data = DeviceImages(train, dataset.card, device, dtype)
        self.validation_data = DeviceImages(dataset.validation, dataset.card, device, dtype)
        self.probe_data: DeviceImages | None = None
        if config.probe_images:
            probed = subset(train, config.probe_images, config.seed)
            whole = len(probed) == len(train)
            self.probe_data = self.train_data if whole else DeviceImages(probed, dataset.card, device, dtype)
        balanced = config.balance == "weights"
        self.class_weights = class_weights(self.train_data.labels, len(dataset.card.classes)) if balanced else None
        self.batch_size = self.step_examples = min(config.batch_size, len(train))
        self.steps_per_epoch = len(train) // self.batch_size
        self.model_config = dict(config.model_settings) | {
            "classes": len(dataset.card.classes),
            "image_size": dataset.card.image_size,
        }
        self.at_once = images_at_once(self.model_config, 500, device)
        self.predict: Callable[[nn.Module, Tensor, str], Tensor] = tta_logits
        if config.compile:
            self.predict = torch.compile(tta_logits, mode="max-autotune")

    def begin(self, model: nn.Module) -> None:
        """Let the model see some training images before the first step, if it wants to."""
        initialise = getattr(model, "initialise_from_data", None)
        if initialise is not None:
            initialise(self.train_data.normalise(self.train_data.images[:WHITENING_IMAGES]))

    def batches(self, step: int) -> Iterator[Batch]:
        epoch, first = divmod(step, self.steps_per_epoch)
        for index in itertools.count(epoch):
            yield from epoch_batches(self.train_data, self.config, index, self.batch_size, first)
            first = 0

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        views = None
        if inputs.ndim == 5:  # (B, views, 3, H, W)
            answers = model(inputs.transpose(0, 1).flatten(0, 1)).float()
            views = answers.unflatten(0, (inputs.shape[1], len(inputs))).transpose(0, 1)
        logits = model(inputs).float() if views is None else views[:, 0]
        smoothing, weights = self.config.label_smoothing, self.class_weights
        # Weights are 1 on average over all images, and a batch in pieces must be the same step: so a sum, by the images.
        loss = F.cross_entropy(
            logits, targets, weight=weights, label_smoothing=smoothing, reduction="mean" if weights is None else "sum"
        )
        loss = loss if weights is None else loss / len(targets)
        if views is not None:
            loss = loss + self.config.consistency * js_divergence(views)
        wanted = targets if targets.ndim == 1 else targets.argmax(1)
        return loss, (logits.detach().argmax(1) == wanted).sum()

    def validate(self, model: nn.Module, tta: str = "none") -> Validation:
        """A run follows its progress without test-time augmentation, which would cost up to six forward passes."""
        return self._measure(model, self.validation_data, tta)

    def probe(self, model: nn.Module) -> Validation | None:
        return self._measure(model, self.probe_data) if self.probe_data is not None else None

    @torch.no_grad()
    def _measure(self, model: nn.Module, data: DeviceImages, tta: str = "none") -> Validation:
        loss = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device, dtype=torch.long)
        for images, labels in data.chunks(self.at_once):
            with self.amp:
                logits = self.predict(model, images, tta).float()
            loss += F.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
        count = len(data)
        return Validation(loss_nats=float(loss) / count, accuracy=int(correct) / count)

    @torch.no_grad()
    def answers(self, model: nn.Module, pixels: np.ndarray) -> list[int]:
        """The model's class, in eval mode, of a few images: (N, H, W, 3) uint8. Never compiled: it would be once more for
        so few."""
        inputs = self.train_data.normalise(torch.from_numpy(pixels).to(self.device))
        with self.amp:
            return [int(answer) for answer in tta_logits(model, inputs, "none").argmax(1)]

    def is_better(self, new: Validation, best_accuracy: float | None, best_loss_nats: float | None) -> bool:
        return math.isfinite(new.loss_nats) and (best_accuracy is None or (new.accuracy or 0.0) > best_accuracy)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        return
