"""What each layer can lose: one layer pruned at a time, the others as they are. Look at it before choosing an amount."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress, no_progress
from core.models import clone_model

if TYPE_CHECKING:
    from torch import nn

AMOUNTS = (0.25, 0.5, 0.75, 0.9)
KINDS = ("weights", "channels")
BATCH = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitivityRow:
    """One layer pruned to one amount."""

    layer: str
    """Its name; empty: nothing was pruned."""
    amount: float
    """Share of its weights or channels that were taken out, 0..1."""
    kind: str = "weights"
    """`weights`: the smallest set to zero; `channels`: the least important removed, of images only."""
    accuracy: float | None = None
    """Of images: share of right answers, 0..1, one view of each."""
    loss_nats: float | None = None
    """Of text: mean cross-entropy of a character."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def sensitivity(
    checkpoint: Checkpoint,
    images: np.ndarray,
    labels: np.ndarray,
    amounts: tuple[float, ...] = AMOUNTS,
    *,
    kind: str = "weights",
    most_images: int = 1000,
    on_progress: Progress = no_progress,
) -> tuple[SensitivityRow, ...]:
    """Accuracy with each layer pruned by magnitude to each amount; the first row is of the network as it is.

    images: (N, H, W, 3) uint8, of the validation part; labels: (N,). At most most_images of them are used, evenly
    spaced. kind `channels` removes channels of one group at a time, exactly as many, not rounded to a multiple of 8 as in
    `prune_channels`; an amount that would take all of a group is left out.
    Raises LabError for amounts out of range and for images of the wrong size.
    """
    if not len(images) or len(images) != len(labels):
        raise LabError("A sensitivity scan needs images and a label for each: give it the validation part.")
    if kind not in KINDS:
        raise LabError(f"kind={repr(kind)[:60]} is not valid: it must be one of {', '.join(KINDS)}.")
    chosen = np.linspace(0, len(images) - 1, max(1, min(len(images), most_images))).round().astype(int)
    images, labels = images[chosen], labels[chosen]

    def accuracy(model: nn.Module) -> float:
        from core.inference.images import logits_of

        probe = dataclasses.replace(checkpoint, model=model, onnx=b"")
        right = 0
        for start in range(0, len(images), BATCH):
            answers = logits_of(probe, images[start : start + BATCH], "none").argmax(1).numpy()
            right += int((answers == labels[start : start + BATCH]).sum())
        return right / len(images)

    variants = _with_fewer_weights if kind == "weights" else _with_fewer_channels
    return _scan(checkpoint, amounts, variants, lambda model: {"accuracy": accuracy(model)}, kind, on_progress)


def text_sensitivity(
    checkpoint: Checkpoint,
    tokens: np.ndarray,
    amounts: tuple[float, ...] = AMOUNTS,
    *,
    most_characters: int = 20_000,
    on_progress: Progress = no_progress,
) -> tuple[SensitivityRow, ...]:
    """Loss of a language model with each weight matrix pruned by magnitude to each amount; the first row is of the model as
    it is. tokens: (N,) int64 of the validation part, of which the first most_characters are read.
    """
    from core.inference.text import evaluate_text

    def loss(model: nn.Module) -> dict[str, float]:
        probe = dataclasses.replace(checkpoint, model=model)
        return {"loss_nats": evaluate_text(probe, tokens[:most_characters]).loss_nats}

    return _scan(checkpoint, amounts, _with_fewer_weights, loss, "weights", on_progress)


Variants = Iterator[tuple[int, str, float, "nn.Module"]]
"""Number of variants in all; layer, amount and the network. A network is valid until the next one is yielded."""


def _scan(
    checkpoint: Checkpoint,
    amounts: tuple[float, ...],
    variants: Callable[[Checkpoint, tuple[float, ...]], Variants],
    measure: Callable[[nn.Module], dict[str, float]],
    kind: str,
    on_progress: Progress,
) -> tuple[SensitivityRow, ...]:
    from core.common.values import finite

    if not amounts or not all(finite(amount) and 0 <= amount < 1 for amount in amounts):
        raise LabError("The amounts of a sensitivity scan must be numbers from 0 to below 1: choose some.")
    on_progress(0.0, "scanning")
    rows = [SensitivityRow(layer="", amount=0.0, kind=kind, **measure(checkpoint.model))]
    for count, layer, amount, model in variants(checkpoint, tuple(sorted(amounts))):
        on_progress(len(rows) / (count + 1), f"scanning {layer}")
        rows.append(SensitivityRow(layer=layer, amount=amount, kind=kind, **measure(model)))
    on_progress(1.0, "scanning")
    return tuple(rows)


def _with_fewer_weights(checkpoint: Checkpoint, amounts: tuple[float, ...]) -> Variants:
    import torch

    from core.compression.methods.pruning import apply_masks, magnitude_masks, prunable

    model = clone_model(checkpoint.model)
    weights = prunable(model)
    masks = {amount: magnitude_masks(model, amount, "layer") for amount in amounts}
    for name, weight in weights.items():
        before = weight.detach().clone()
        for amount in amounts:
            apply_masks(model, {name: masks[amount][name]})
            yield len(weights) * len(amounts), name.removesuffix(".weight"), amount, model
        with torch.no_grad():
            weight.copy_(before)


def _with_fewer_channels(checkpoint: Checkpoint, amounts: tuple[float, ...]) -> Variants:
    from core.compression.methods.channels import Channels, magnitudes

    size = checkpoint.card.image_data.image_size
    groups = Channels(clone_model(checkpoint.model), size).groups
    wanted = [
        (number, round(amount * group.size), amount)
        for number, group in enumerate(groups)
        for amount in amounts
        if round(amount * group.size) < group.size
    ]
    for number, count, amount in wanted:
        channels = Channels(clone_model(checkpoint.model), size)
        group = channels.groups[number]
        least = magnitudes(channels)[group].argsort(stable=True)[:count]
        channels.take_out(group, sorted(least.tolist()))
        yield len(wanted), group.name, amount, channels.model.eval().requires_grad_(False)
