"""What the room finds of networks and batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.common.results import ResultStore


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFlow:
    """One layer in the two passes of one image."""

    name: str
    kind: str
    """Class of the layer: Conv2d, ReLU, …; `input` of the image."""
    shape: tuple[int, ...]
    """Of its output, without the batch."""
    activation_rms: float
    gradient_norm: float
    """Euclidean norm of the gradient of the loss by its output."""
    dead: float | None
    """Of a ReLU the share of units that let no gradient through, 0..1."""
    skipped: bool = False
    """Whether a skip connection leads around it: its input goes elsewhere too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """Gradients of the cross-entropy of one image, from the image to the logits."""

    layers: tuple[LayerFlow, ...]
    loss_nats: float
    target: int
    """The class that the loss asks for."""
    probabilities: tuple[float, ...]

    @property
    def dead(self) -> float | None:
        """Share of all ReLU units that let no gradient through, 0..1; None without any."""
        relus = [(layer.dead, math.prod(layer.shape)) for layer in self.layers if layer.dead is not None]
        return sum(dead * units for dead, units in relus) / sum(units for _, units in relus) if relus else None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WeightGradient:
    """The gradient of one weight as a sum over the places where it was used."""

    layer: str
    index: tuple[int, ...]
    weight: float
    from_above: np.ndarray
    """(h, w): gradient of the loss by the outputs that the weight went into; (1, 1) in a dense layer."""
    local: np.ndarray
    """(h, w): the input value that it was multiplied with."""
    autograd: float
    difference: float
    """Central difference of the loss."""

    @property
    def products(self) -> np.ndarray:
        """(h, w)."""
        return self.from_above * self.local

    @property
    def gradient(self) -> float:
        return float(self.products.sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthFlow:
    """A deep network of equal layers with random weights, from its input (0) to its output."""

    gradient_rms: tuple[float, ...]
    """Of the gradient by the input of each layer, as a share of that by the output."""
    activation_rms: tuple[float, ...]

    @property
    def share(self) -> float:
        """What of the gradient reaches the input."""
        return self.gradient_rms[0]


ONE, RIGHT, MEANS = "one batch", "sum over all", "mean of means"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Gradients of micro-batches beside that of the whole batch."""

    what: str
    """What the batch holds: texts, images, or images for a network with batch norm."""
    micro_batches: int
    right: float
    """Norm of the difference as a share of the whole batch's norm, where sums are divided by the count of the whole."""
    means: float
    """The same for the mean of the micro-batches' means."""
    memory: float
    """What the largest micro-batch keeps for its backward pass, as a share of what the whole batch keeps."""
    memory_bytes: int
    """Of the whole batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A small language model, trained from several seeds."""

    how: str
    micro_batches: int
    bits: tuple[float, ...]
    """Bits per character on held-out texts, one a seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accumulation:
    lengths: tuple[int, ...]
    """Characters of each text in the batch."""
    comparisons: tuple[Comparison, ...]
    trainings: tuple[Training, ...]
    steps: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """What was compared."""
        return tuple(dict.fromkeys(each.what for each in self.comparisons))

    def of(self, what: str, micro_batches: int) -> Comparison:
        return next(each for each in self.comparisons if (each.what, each.micro_batches) == (what, micro_batches))

    def cost(self, training: Training) -> list[float]:
        """Bits per character more than with one batch, seed by seed."""
        one = next(each for each in self.trainings if each.how == ONE)
        return [bits - other for bits, other in zip(training.bits, one.bits, strict=True)]


def read_accumulation(values: Any) -> Accumulation:
    """From plain values. Raises LookupError or TypeError for others."""
    return Accumulation(
        lengths=tuple(values["lengths"]),
        comparisons=tuple(Comparison(**each) for each in values["comparisons"]),
        trainings=tuple(Training(**{**each, "bits": tuple(each["bits"])}) for each in values["trainings"]),
        steps=values["steps"],
    )


ACCUMULATIONS: ResultStore[Accumulation, None] = ResultStore(
    "accumulation", Path(__file__).with_name("shipped"), read_accumulation
)
