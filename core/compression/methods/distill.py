"""Learning from another network: soft targets, computed once for a whole training set, and the loss that matches them.

The teacher sees each training image once, not augmented, so a hundred epochs of a student cost one pass of the teacher; a
teacher that saw every augmented view would be the better one (Beyer et al., arXiv:2106.05237), at its price.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.common.progress import Progress, no_progress
from core.data.dataset import Dataset, ImageCard, ImageDataset, TextDataset
from core.inference.text import next_logits, unk_token
from core.models import clone_model, images_at_once
from core.training.config import TrainConfig
from core.training.image_task import ImageTask
from core.training.text_task import TextTask

CHUNK = 250
MOST_BYTES = 500_000_000
"""Of one teacher's answers, which are held in memory: Tiny Shakespeare's are 130 MB."""
MOST_CACHED_BYTES = 1_000_000_000
"""Of all answers that are kept on disk; the oldest go first."""
ASKING = "computing the teacher's answers"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Teaching:
    """How much of the loss is the teacher's."""

    targets: Tensor
    """The teacher's logits for every training image or character, (N, C) float16."""
    alpha: float
    temperature: float

    def loss(self, logits: Tensor, labels: Tensor, places: Tensor, label_smoothing: float) -> Tensor:
        """`distillation_loss` of a batch. places: (N,) of its rows in the training data."""
        soft = self.targets[places.cpu()].to(logits.device)
        return distillation_loss(
            logits,
            labels,
            soft,
            alpha=self.alpha,
            temperature=self.temperature,
            label_smoothing=label_smoothing,
        )


def distillation_loss(
    logits: Tensor, labels: Tensor, soft: Tensor, *, alpha: float, temperature: float, label_smoothing: float = 0.0
) -> Tensor:
    """(1 - alpha) cross-entropy with the labels + alpha T² KL(teacher || student), both softened by T. Nats, scalar.

    logits, soft: (N, C) unnormalised; labels: (N,). Source: Hinton et al., arXiv:1503.02531, section 2.
    """
    hard = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if not alpha:
        return hard
    return (1 - alpha) * hard + alpha * soft_loss(logits, soft, temperature)


def soft_loss(logits: Tensor, soft: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher || student) at temperature T: nats, scalar, 0 where both agree. logits, soft: (N, C)."""
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(soft.float() / temperature, dim=1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def soft_targets(
    teacher: Checkpoint, dataset: Dataset, task: ImageTask | TextTask, on_progress: Progress = no_progress
) -> Tensor:
    """The teacher's logits for the task's training data, (N, C) float16 in the order of the data; cached on disk."""
    card = teacher.card
    size = 2 * _count(task) * len(card.text_data.vocabulary if card.task == "text" else card.image_data.classes)
    if size > MOST_BYTES:
        raise LabError(
            f"The teacher's answers to {dataset.card.title[:100]} would take {size / 1e9:.1f} GB of memory, and at most "
            f"{MOST_BYTES / 1e9:g} are taken: set alpha to 0, or choose a smaller dataset."
        )
    path = _cache_path(teacher, dataset, task)
    try:
        with np.load(path, allow_pickle=False) as kept:
            logits = torch.from_numpy(kept["logits"])
        if len(logits) == _count(task):
            return logits
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        pass  # none yet, or half of one: made anew
    logits = _teacher_logits(teacher, task, on_progress)
    _write_cache(path, logits)
    return logits


def mean_soft_labels(targets: Tensor, labels: np.ndarray, classes: tuple[str, ...]) -> tuple[dict[str, Any], ...]:
    """For each class, the mean probabilities that the teacher gives to its training images, at temperature 1."""
    probabilities = torch.softmax(targets.float(), dim=1).numpy()
    rows = []
    for index, label in enumerate(classes):
        own = probabilities[labels == index]
        if len(own):
            rows.append({"label": label, "probabilities": [round(float(value), 5) for value in own.mean(axis=0)]})
    return tuple(rows)


class SoftImageTask(ImageTask):
    """ImageTask whose loss is partly a teacher's. Labels of a batch are places in the training set, so that whatever the
    augmentation does to an image, its soft targets are found."""

    def __init__(self, config: TrainConfig, dataset: ImageDataset, device: str, dtype: torch.dtype, amp: Any) -> None:
        super().__init__(config, dataset, device, dtype, amp)
        self.true = self.train_data.labels
        self.teaching: Teaching | None = None

    def teach(self, teaching: Teaching) -> None:
        """From now on, the loss asks for the teacher's answers too."""
        if self.config.mixup or self.config.cutmix or self.config.consistency:
            raise LabError("A teacher's answers cannot be mixed: leave mixup and cutmix out, and consistency.")
        self.teaching = teaching
        if self.train_data.labels is self.true:
            self.train_data.labels = torch.arange(len(self.true), device=self.true.device)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        teaching = self.teaching
        if teaching is None:
            return super().loss(model, inputs, targets)
        labels = self.true[targets]
        logits = model(inputs).float()
        loss = teaching.loss(logits, labels, targets, self.config.label_smoothing)
        return loss, (logits.detach().argmax(1) == labels).sum()


class SoftTextTask(TextTask):
    """TextTask whose loss is partly a teacher's. Batches are places in the text, so that the teacher's answers are found."""

    def __init__(self, config: TrainConfig, dataset: TextDataset, device: str, amp: Any) -> None:
        super().__init__(config, dataset, device, amp)
        self.characters = self.tokens
        self.teaching: Teaching | None = None

    def teach(self, teaching: Teaching) -> None:
        """From now on, the loss asks for the teacher's answers too."""
        self.teaching = teaching
        self.tokens = torch.arange(len(self.characters), device=self.characters.device)

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        teaching = self.teaching
        if teaching is None:
            return super().loss(model, inputs, targets)
        labels = self.characters[targets].flatten()
        logits, state = model(self.characters[inputs], self.carried)
        if self.recurrent:
            self.carried = [tuple(part.detach() for part in parts) for parts in state]
        flat = logits.float().flatten(0, 1)  # (B x T, V)
        loss = teaching.loss(flat, labels, inputs.flatten(), self.config.label_smoothing)
        return loss, (flat.detach().argmax(1) == labels).sum()


@torch.no_grad()
def _teacher_logits(teacher: Checkpoint, task: ImageTask | TextTask, on_progress: Progress) -> Tensor:
    model = clone_model(teacher.model).to(task.device)
    if isinstance(task, TextTask):
        replacement_char = unk_token(teacher.card.text_data.vocabulary)
        found = next_logits(model, task.tokens, replacement_char, lambda share: on_progress(share, ASKING)).cpu()
        return torch.cat([found, found[-1:]])  # nothing follows the last character
    logits, size = [], images_at_once(teacher.card.model_config, CHUNK, task.device)
    for pixels, _ in task.train_data.chunks(size):
        logits.append(model(pixels.float()).half().cpu())
        on_progress(min(1.0, len(logits) * size / len(task.train_data)), ASKING)
    return torch.cat(logits)


def _count(task: ImageTask | TextTask) -> int:
    return len(task.tokens) if isinstance(task, TextTask) else len(task.train_data)


def _cache_path(teacher: Checkpoint, dataset: Dataset, task: ImageTask | TextTask) -> Path:
    """By the teacher's network and the very data: their pixels or characters, since a subset has no checksum of its own. Not
    by the checksum on the card, which a network that was never saved has from its parent."""
    card = dataset.card
    shown = (card.mean, card.std) if isinstance(card, ImageCard) else card
    what = hashlib.sha256(f"{teacher.card.model} {teacher.card.model_config} {shown}".encode())
    for name, value in teacher.model.state_dict().items():
        what.update(name.encode() + value.cpu().numpy().tobytes())
    data = task.tokens if isinstance(task, TextTask) else task.train_data.images
    what.update(data.cpu().numpy().tobytes())
    return lab_home() / "soft-targets" / f"{what.hexdigest()[:32]}.npz"


def _write_cache(path: Path, logits: Tensor) -> None:
    """Best effort: without it, the teacher answers again the next time."""
    buffer = io.BytesIO()
    np.savez(buffer, logits=logits.numpy())
    try:
        ensure_folder(path.parent)
        write_atomic(path, buffer.getvalue(), durable=False)
        room = MOST_CACHED_BYTES
        for kept in sorted(path.parent.glob("*.npz"), key=lambda item: item.stat().st_mtime, reverse=True):
            room -= kept.stat().st_size
            if room < 0:
                kept.unlink(missing_ok=True)
    except (OSError, LabError):
        return
