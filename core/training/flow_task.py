"""Training a generator of images by flow matching."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from core.common.errors import LabError
from core.data import subset
from core.data.dataset import ImageDataset
from core.inference.flow import draw_times, flow_loss
from core.training.batches import DeviceImages
from core.training.config import CLASSIFIERS_ONLY, TrainConfig
from core.training.image_task import ImageTask
from core.training.task import Validation

MEASURED_IMAGES = 2_000
"""Of the validation split at an evaluation, at most: each with one noise and one time, always the same."""


class FlowTask(ImageTask):
    """See core.training.task.Task. The loss is the mean squared error of the velocity, in units of the normalised images;
    there are no right answers to count."""

    def __init__(
        self, config: TrainConfig, dataset: ImageDataset, device: str, dtype: torch.dtype, amp: torch.autocast
    ) -> None:
        for name in CLASSIFIERS_ONLY:
            if (value := getattr(config, name)) != TrainConfig.model_fields[name].default:
                raise LabError(f"{name}={value!r} is for classifiers: leave {name} out to train a generator.")
        # Noise and points on the way are float32; the network computes in what autocast says.
        super().__init__(config, dataset, device, torch.float32, amp)
        measured = subset(dataset.validation, min(MEASURED_IMAGES, len(dataset.validation)), 0)
        self.measured = DeviceImages(measured, dataset.card, device)
        self.any_class = len(dataset.card.classes)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Noise, times and hidden classes come from torch's generator, which the trainer seeds by the step."""
        count = len(inputs)
        noise = torch.randn(inputs.shape).to(inputs)
        time = draw_times(count).to(inputs)
        hide = (torch.rand(count) < model.config.class_dropout).to(inputs.device)  # type: ignore[union-attr, operator]
        classes = torch.where(hide, self.any_class, targets)
        return flow_loss(model, inputs, noise, time, classes).mean(), torch.zeros((), device=inputs.device)

    def validate(self, model: nn.Module, tta: str = "none") -> Validation:
        random = torch.Generator().manual_seed(0)
        total, count = torch.zeros((), device=self.device), 0
        with torch.no_grad():
            for images, labels in self.measured.chunks(self.at_once):
                noise = torch.randn(images.shape, generator=random).to(images)
                time = draw_times(len(images), random).to(images)
                with self.amp:
                    total += flow_loss(model, images, noise, time, labels).sum()
                count += len(images)
        return Validation(loss_nats=float(total) / count, accuracy=None)

    def probe(self, model: nn.Module) -> None:
        return None

    def is_better(self, new: Validation, best_accuracy: float | None, best_loss_nats: float | None) -> bool:
        return math.isfinite(new.loss_nats) and (best_loss_nats is None or new.loss_nats < best_loss_nats)
