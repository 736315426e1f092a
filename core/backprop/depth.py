"""Where gradients vanish or explode: a deep network of equal layers, by activation and size of its random weights.

Sources: Glorot & Bengio 2010; He et al., arXiv:1502.01852.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from core.backprop.results import DepthFlow

WIDTH, BATCH = 64, 16
DEPTHS = (2, 60)
GAINS = (0.1, 4.0)
MARKS = {"Glorot": 1.0, "He": math.sqrt(2)}
"""Initialisation -> gain: weights have standard deviation gain/√n in layers of n inputs and n outputs."""
Function = Callable[[np.ndarray], np.ndarray]
ACTIVATIONS: Mapping[str, tuple[Function, Function]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(float)),
    "tanh": (np.tanh, lambda y: 1 - y**2),
    "sigmoid": (lambda x: 0.5 * (1 + np.tanh(x / 2)), lambda y: y * (1 - y)),
    "linear": (lambda x: x, np.ones_like),
}
"""Each with its derivative, as a function of its value."""


@lru_cache(maxsize=4)
def _normal(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((DEPTHS[1], WIDTH, WIDTH))


def random_weights(depth: int, gain: float, seed: int) -> np.ndarray:
    """(depth, n, n). One draw for every depth and gain, so that a slider changes nothing else."""
    return gain / math.sqrt(WIDTH) * _normal(seed)[:depth]


@lru_cache(maxsize=2048)
def depth_flow(depth: int, activation: str, gain: float, seed: int = 0) -> DepthFlow:
    """Send a batch of normal inputs forward and a normal gradient back."""
    function, derivative = ACTIVATIONS[activation]
    x, gradient = np.random.default_rng((seed, 1)).standard_normal((2, BATCH, WIDTH))
    weights, values = random_weights(depth, gain, seed), [x]
    for weight in weights:
        values.append(function(values[-1] @ weight.T))
    unit, gradients = _rms(gradient), [1.0]
    for weight, value in zip(reversed(weights), reversed(values), strict=False):
        gradient = (gradient * derivative(value)) @ weight
        gradients.append(_rms(gradient) / unit)
    return DepthFlow(gradient_rms=tuple(gradients[::-1]), activation_rms=tuple(map(_rms, values)))


def _rms(values: np.ndarray) -> float:
    return math.sqrt(np.vdot(values, values) / values.size)
