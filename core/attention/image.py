"""What a vision Transformer attends to on an image, and what its accuracy loses without a head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from core.attention.config import head_names, parse_head
from core.attention.rollout import require_finite, roll_out
from core.attribution.methods.attention import Recorder, has_image_attention
from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.data.dataset import Split
from core.data.splits import subset
from core.inference.evaluation import split_answers
from core.inference.images import normalise
from core.models import clone_model
from core.models.heads import attention_layers, head_numbers

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageHeads:
    """Attention on one image, whose tokens lie on a grid of side x side."""

    side: int
    heads: tuple[str, ...]
    """`LAYER.HEAD` of all, layer by layer."""
    weights: tuple[np.ndarray, ...]
    """Of each layer (heads, T, T) float32, T = side²; rows sum to 1."""
    rollout: np.ndarray
    """(T, T) float32, through all layers."""
    pooling: np.ndarray
    """(T,) float32: the share of each token in what the classifier reads; sums to 1."""

    @property
    def answer(self) -> np.ndarray:
        """(T,): how much of each token reaches the classifier."""
        return np.asarray(self.pooling @ self.rollout)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadAccuracy:
    """What the accuracy loses without one head."""

    name: str
    """`LAYER.HEAD`."""
    cost_points: float
    """Fall in percentage points; below 0 where it is better without."""
    interval_points: tuple[float, float]
    """95% interval of that; such intervals hold for all heads at once."""
    p_value: float
    """McNemar's exact test."""
    images: int


def require_image_attention(card: Card, model: nn.Module) -> None:
    """Raises LabError for a network without tokens of an image that attend to each other."""
    if not has_image_attention(model):
        raise LabError(f"{card.title[:100]} has no attention over an image: choose a Compact Transformer.")


def image_heads(checkpoint: Checkpoint, pixels: np.ndarray) -> ImageHeads:
    """pixels: (H, W, 3) uint8 of the network's size. Raises LabError for a network without attention over an image."""
    import torch

    require_image_attention(checkpoint.card, checkpoint.model)
    model: Any = clone_model(checkpoint.model)
    with torch.no_grad(), Recorder(model) as found:
        model(normalise(torch.from_numpy(pixels[None].copy()), checkpoint.card))
    assert found.pooling is not None
    weights = tuple(layer[0].float().numpy() for layer in found.weights)
    require_finite(checkpoint.card, *weights)
    return ImageHeads(
        side=int(model.side),
        heads=head_names(model),
        weights=weights,
        rollout=roll_out(weights),
        pooling=found.pooling[0, :, 0].numpy(),
    )


def head_accuracies(checkpoint: Checkpoint, split: Split, images: int, on_progress: Progress) -> list[HeadAccuracy]:
    """Accuracy without each head in turn, on `images` of a split. Raises LabError for a split without images."""
    from core.compression.measuring.significance import mcnemar, paired_interval

    require_image_attention(checkpoint.card, checkpoint.model)
    part = subset(split, min(images, len(split)), 0)
    if not len(part):
        raise LabError(f"{checkpoint.card.dataset.title[:100]} has no test images: add some to each class.")
    names = head_names(checkpoint.model)
    float32 = dataclasses.replace(checkpoint, onnx=b"")
    z = NormalDist().inv_cdf(1 - (1 - 0.95 ** (1 / len(names))) / 2)  # Šidák: all heads at once
    rights = []
    for place, name in enumerate(["", *names]):
        on_progress(place / (len(names) + 1), "removing heads")
        logits = split_answers(_silence(float32, name) if name else float32, part, "none").logits
        rights.append(logits.numpy().argmax(1) == part.labels)
    found = []
    for name, right in zip(names, rights[1:], strict=True):
        lost, gained = int((rights[0] & ~right).sum()), int((right & ~rights[0]).sum())
        low, high = paired_interval(lost, gained, len(part), z)
        found.append(
            HeadAccuracy(
                name=name,
                cost_points=100 * (lost - gained) / len(part),
                interval_points=(-high, -low),
                p_value=mcnemar(lost, gained),
                images=len(part),
            )
        )
    return found


def _silence(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """The network in which a head adds nothing; also the only head of a layer, and one whose matrices are in factors."""
    import torch

    model = clone_model(checkpoint.model)
    layer, head = parse_head(name)
    attention = list(attention_layers(model).values())[layer]
    place = head_numbers(attention).index(head)
    reads = getattr(attention.out, "weight", None)
    with torch.no_grad():
        (attention.out[0].weight if reads is None else reads)[
            :, place * attention.head_size : (place + 1) * attention.head_size
        ] = 0
    return dataclasses.replace(checkpoint, model=model)
