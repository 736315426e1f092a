"""What the room finds of networks and batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


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
