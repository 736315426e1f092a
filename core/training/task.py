"""What a training session asks of the data it trains on. Images and text answer in files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from core.data.dataset import DatasetCard
from core.training.config import TrainConfig

Batch = tuple[Tensor, Tensor]
"""Inputs and targets of one optimizer step. Images: (B, 3, H, W) and (B,), or where labels are mixed (B, classes) that
sum to one, where views are compared (B, views, 3, H, W) and (B,); text: (B, T) and (B, T)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """A model against the validation split, or against training images measured in the same way."""

    loss_nats: float
    """Mean cross-entropy of an image or a character; of a generator the mean squared error of its velocities, which is no
    number of nats."""
    accuracy: float | None
    """Share of right answers, 0..1: classes, or next characters; None where nothing is right or wrong."""


class Task(Protocol):
    """One dataset on one device, ready to train on."""

    config: TrainConfig
    """The session's; its seed decides the order of the data."""
    card: DatasetCard
    model_config: dict[str, Any]
    """The model's settings, with what the data decides filled in."""
    batch_size: int
    """Images, or streams of text, of one optimizer step."""
    step_examples: int
    """Images or characters of one optimizer step."""
    steps_per_epoch: int

    def begin(self, model: nn.Module) -> None:
        """Prepare for step 0, with the model's fresh weights."""

    def batches(self, step: int) -> Iterator[Batch]:
        """Training batches from step `step` on, epoch after epoch, without end."""

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss (nats, scalar) and number of right answers (scalar) of one batch."""

    def validate(self, model: nn.Module) -> Validation:
        """The model, in eval mode, on the whole validation split."""

    def probe(self, model: nn.Module) -> Validation | None:
        """The model, in eval mode, on `probe_images` of the training images, not augmented; None where there are none."""

    def is_better(self, new: Validation, best_accuracy: float | None, best_loss_nats: float | None) -> bool:
        """Whether an evaluation is better than the best before it."""

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs beside the model: tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
