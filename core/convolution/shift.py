"""The image moved by a pixel at a time: how the answer changes, and how often on many images.

Source: Zhang, Making Convolutional Networks Shift-Invariant Again, arXiv:1904.11486 (consistency, section 4).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.common.values import wilson
from core.convolution.config import Edit
from core.convolution.edits import apply_edits
from core.inference.images import logits_of
from core.models import clone_model, images_at_once
from core.models.pooling import blur_stride, replaceable

MOST_REACH = 8
VARIANTS = ("max", "average", "stride", "blur")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shifts:
    """Answers to one image at every shift."""

    reach: int
    probabilities: np.ndarray
    """(2R+1, 2R+1, classes): rows move down by -R..R pixels, columns to the right."""

    @property
    def answers(self) -> np.ndarray:
        """(2R+1, 2R+1) predicted class."""
        return self.probabilities.argmax(2)

    @property
    def same(self) -> float:
        """Share of the shifts, 0..1, with the answer of the image in place."""
        return float((self.answers == self.answers[self.reach, self.reach]).mean())

    @property
    def changed(self) -> int:
        """Shifts with another answer than that of the image in place."""
        return int((self.answers != self.answers[self.reach, self.reach]).sum())

    @property
    def spread(self) -> float:
        """Largest less smallest probability, 0..1, of the class that is predicted in place."""
        values = self.probabilities[..., self.answers[self.reach, self.reach]]
        return float(values.max() - values.min())


@dataclass(frozen=True, kw_only=True, slots=True)
class Consistency:
    """Two shifts of each of many test images."""

    images: int
    accuracy: float
    """0..1, of the images in place."""
    same: int
    """Images that get one answer at both shifts."""
    interval: tuple[float, float]
    """95% Wilson interval of their share, 0..1."""


def poolings(checkpoint: Checkpoint) -> list[str]:
    """Names of the max poolings that another can replace: those that leave more than one value of each map."""
    from core.convolution.layers import layers_of

    modules = dict(checkpoint.model.named_modules())
    return [
        layer.name
        for layer in layers_of(checkpoint)
        if isinstance(module := modules[layer.name], nn.MaxPool2d)
        and max(layer.shape[1:]) > 1
        and module.stride != 1
        and replaceable(module)
    ]


def variants(checkpoint: Checkpoint) -> dict[str, Checkpoint]:
    """The network as it is, then with each other way to stride in all places; the weights stay as they were trained.

    Of a network with max poolings the kinds are `max`, `average`, `stride` and `blur`; of one whose convolutions stride,
    `stride` and `blur`; of any other, `trained` alone.
    """
    original, names = dataclasses.replace(checkpoint, onnx=b""), poolings(checkpoint)
    if names:
        edits = {
            kind: tuple(Edit.from_dict({"what": "pooling", "layer": name, "pooling": kind}) for name in names)
            for kind in VARIANTS[1:]
        }
        return {"max": original} | {kind: apply_edits(checkpoint, changes) for kind, changes in edits.items()}
    model = clone_model(checkpoint.model)
    strided = [
        name for name, module in model.named_modules() if isinstance(module, nn.Conv2d) and max(module.stride) > 1
    ]
    if not strided:
        return {"trained": original}
    for name in strided:
        model.set_submodule(name, blur_stride(model.get_submodule(name)))
    return {"stride": original, "blur": dataclasses.replace(original, model=model)}


def shift(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Images (..., H, W, 3) moved; what comes in at an edge mirrors what is there."""
    padding = [(0, 0)] * (images.ndim - 3) + [(max(down, 0), max(-down, 0)), (max(right, 0), max(-right, 0)), (0, 0)]
    padded = np.pad(images, padding, mode="reflect")
    height, width = images.shape[-3:-1]
    top, left = max(-down, 0), max(-right, 0)
    return padded[..., top : top + height, left : left + width, :]


def shifted_answers(checkpoint: Checkpoint, pixels: np.ndarray, reach: int, temperature: float) -> Shifts:
    """pixels: (H, W, 3) uint8. reach: pixels in each direction, 1 to 8. Raises LabError for another one."""
    if not 1 <= reach <= MOST_REACH or reach >= len(pixels):
        raise LabError(f"The image can be moved by 1 to {MOST_REACH} pixels, not {reach}.")
    moves = range(-reach, reach + 1)
    stack = np.stack([shift(pixels, down, right) for down in moves for right in moves])
    found = torch.softmax(_logits(checkpoint, stack) / temperature, 1)
    return Shifts(reach=reach, probabilities=found.numpy().reshape(len(moves), len(moves), -1))


def consistency(
    checkpoint: Checkpoint, images: np.ndarray, labels: np.ndarray, reach: int, seed: int, on_progress: Progress
) -> Consistency:
    """Whether images (N, H, W, 3) uint8 get one answer at two random shifts of at most `reach` pixels each way."""
    moves = np.random.default_rng(seed).integers(-reach, reach + 1, (2, len(images), 2))
    answers = []
    for number, pair in enumerate(moves):
        moved = np.stack([shift(image, *move) for image, move in zip(images, pair.tolist(), strict=True)])
        answers.append(_logits(checkpoint, moved).argmax(1).numpy())
        on_progress((number + 1) / 3, "moving test images")
    same = int((answers[0] == answers[1]).sum())
    accuracy = float((_logits(checkpoint, images).argmax(1).numpy() == labels).mean())
    return Consistency(images=len(images), accuracy=accuracy, same=same, interval=wilson(same, len(images)))


def _logits(checkpoint: Checkpoint, images: np.ndarray) -> torch.Tensor:
    size = images_at_once(checkpoint.card.model_config, 100)
    return torch.cat(
        [logits_of(checkpoint, images[start : start + size], "none") for start in range(0, len(images), size)]
    )
