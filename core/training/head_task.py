"""Training only the last layer of a classifier, on features that the rest of the network computed once.

Augmentation cannot apply: it would need the whole network again in every epoch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.common.progress import Progress
from core.inference.neighbours import MEASURED
from core.models import head_name
from core.training.batches import DeviceImages, derive_seed, drawn_order
from core.training.features import body_of, features_of
from core.training.image_task import ImageTask
from core.training.task import Batch, Validation

AT_ONCE = 10_000
"""Features of one evaluation that go through the head together."""


class HeadTask(ImageTask):
    """See core.training.task.Task. Inputs are features (B, F); the model is the whole network, of which only the head is used."""

    features: dict[DeviceImages, Tensor]
    head: str
    """Name of the layer that is trained."""

    def extract(self, model: nn.Module, on_progress: Progress | None = None) -> None:
        """Compute the features of all images with the network as it is. Before anything else is asked of the task."""
        self.head = head_name(model)
        body = body_of(model)
        splits = {self.train_data: "training", self.validation_data: "validation"}
        if self.probe_data is not None:
            splits.setdefault(self.probe_data, "probe")
        self.features = {
            data: features_of(
                body,
                data,
                settings=self.model_config,
                amp=self.amp,
                words=f"computing features of the {which} images",
                on_progress=on_progress,
            ).to(self.device)
            for data, which in splits.items()
        }

    def kept_features(self) -> Tensor | None:
        """Features (N, F) of the training images, if the warning of a head on them is to go by distances too."""
        return self.features[self.train_data] if self.config.model in MEASURED else None

    def batches(self, step: int) -> Iterator[Batch]:
        epoch, first = divmod(step, self.steps_per_epoch)
        features, labels = self.features[self.train_data], self.train_data.labels
        for index in itertools.count(epoch):
            random = torch.Generator().manual_seed(derive_seed(self.config.seed, index))
            order = drawn_order(labels, self.config.balance, random).to(self.device)
            for number in range(first, self.steps_per_epoch):
                chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
                yield features[chosen], labels[chosen]
            first = 0

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return super().loss(model.get_submodule(self.head), inputs, targets)

    @torch.no_grad()
    def _measure(self, model: nn.Module, data: DeviceImages, tta: str = "none") -> Validation:
        head = model.get_submodule(self.head)
        loss, correct = 0.0, 0
        for features, labels in zip(self.features[data].split(AT_ONCE), data.labels.split(AT_ONCE), strict=True):
            with self.amp:
                logits = head(features).float()
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
        return Validation(loss_nats=loss / len(data), accuracy=correct / len(data))
