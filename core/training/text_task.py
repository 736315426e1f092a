"""Training a language model on the characters of a text.

A recurrent model reads the text in a few parallel streams, a window at a time, and carries its state from one window to
the next: gradients stop at the window's edge (truncated back-propagation through time; Williams & Peng 1990), what it
remembers does not. A Transformer carries nothing, so its windows come in a new order every epoch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.common.errors import LabError
from core.data.dataset import UNKNOWN, DatasetCard, TextDataset
from core.inference.text import character_losses, unk_token
from core.models import full_config
from core.training.batches import derive_seed
from core.training.config import IMAGES_ONLY, TrainConfig
from core.training.task import Batch, Validation
from core.training.windows import text_windows


class TextTask:
    """See core.training.task.Task. One epoch reads the training part once, but for a remainder at its ends."""

    def __init__(self, config: TrainConfig, dataset: TextDataset, device: str, amp: torch.autocast) -> None:
        usual = TrainConfig()
        for name in IMAGES_ONLY:
            if getattr(config, name) != getattr(usual, name):
                raise LabError(f"{name}={getattr(config, name)!r} is for images: leave it out for a text.")
        if config.optimizer == "muon":
            raise LabError("optimizer='muon' is for convolutions: choose adamw, adam or sgd for a text.")
        self.config, self.device, self.amp = config, device, amp
        self.card: DatasetCard = dataset.card
        self.tokens = torch.from_numpy(dataset.train.copy()).to(device)
        self.validation = torch.from_numpy(dataset.validation.copy()).to(device)
        if not bool((self.validation[1:] != UNKNOWN).any()):
            raise LabError(
                f"The validation part of {self.card.title} has no character that training saw: mix its lines."
            )
        self.unk_token = unk_token(dataset.card.vocabulary)
        self.model_config = dict(config.model_settings) | {"vocabulary": len(dataset.card.vocabulary)}
        _, values = full_config(config.model, self.model_config)
        context = getattr(values, "context", None)
        if context is not None and config.window > context:
            raise LabError(
                f"window={config.window} is not valid: {config.model} reads at most {context} characters at once."
            )
        self.recurrent = context is None
        windows = text_windows(config, len(self.tokens))
        self.window, self.batch_size, self.steps_per_epoch = windows.window, windows.streams, windows.steps
        if context is not None and not config.init_from:
            # Places in the context that no window reaches would keep their random vectors: the model gets none of them.
            self.model_config["context"] = max(2, min(context, self.window))
        self.step_examples = self.batch_size * self.window
        self.carried: list[tuple[Tensor, ...]] | None = None

    def begin(self, model: nn.Module) -> None:
        self.carried = None

    def batches(self, step: int) -> Iterator[Batch]:
        epoch, first = divmod(step, self.steps_per_epoch)
        for index in itertools.count(epoch):
            yield from self._epoch(index, first)
            first = 0

    def _epoch(self, epoch: int, first: int) -> Iterator[Batch]:
        random = torch.Generator().manual_seed(derive_seed(self.config.seed, epoch))
        offset = int(torch.randint(0, self.window, (1,), generator=random))
        length = self.steps_per_epoch * self.window
        if self.recurrent:
            starts = offset + length * torch.arange(self.batch_size)[:, None] + torch.zeros(1, dtype=torch.long)
            order = torch.arange(self.steps_per_epoch)[:, None] * self.window + starts.T  # (steps, B)
        else:
            count = self.steps_per_epoch * self.batch_size
            order = offset + self.window * torch.randperm(count, generator=random).view(-1, self.batch_size)
        reach = torch.arange(self.window + 1)
        forgotten = torch.rand(self.steps_per_epoch, self.batch_size, generator=random) < self.config.state_reset
        for index in range(first, self.steps_per_epoch):
            if index == 0:
                self.carried = None
            elif self.carried and forgotten[index].any():
                kept = (~forgotten[index]).to(self.device)[:, None]
                self.carried = [tuple(part * kept for part in parts) for parts in self.carried]
            part = self.tokens[(order[index][:, None] + reach).to(self.device)]  # (B, T + 1)
            yield part[:, :-1], part[:, 1:]

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits, state = model(inputs, self.carried)
        if self.recurrent:
            self.carried = [tuple(part.detach() for part in parts) for parts in state]
        flat = logits.float().flatten(0, 1)  # (B x T, V)
        loss = F.cross_entropy(flat, targets.flatten(), label_smoothing=self.config.label_smoothing)
        return loss, (flat.detach().argmax(1) == targets.flatten()).sum()

    @torch.no_grad()
    def validate(self, model: nn.Module) -> Validation:
        with self.amp:
            losses, right = character_losses(model, self.validation, self.unk_token)
        scored = self.validation[1:] != UNKNOWN
        count = int(scored.sum())
        return Validation(loss_nats=float(losses[scored].sum()) / count, accuracy=int(right[scored].sum()) / count)

    def probe(self, model: nn.Module) -> None:
        return None

    def is_better(self, new: Validation, best_accuracy: float | None, best_loss_nats: float | None) -> bool:
        return math.isfinite(new.loss_nats) and (best_loss_nats is None or new.loss_nats < best_loss_nats)

    def state_dict(self) -> dict[str, Any]:
        return {"carried": [list(parts) for parts in self.carried] if self.carried else []}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.carried = [tuple(part.to(self.device) for part in parts) for parts in state["carried"]] or None
