"""Where gradients vanish or explode: a deep network of equal layers, by activation and size of its random weights.

Sources: Glorot & Bengio 2010; He et al., arXiv:1502.01852.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from core.backprop.results import DepthFlow

WIDTH, BATCH = 64, 64
DEPTHS = (2, 60)
GAINS = (0.1, 4.0)
MARKS = {"Glorot": 1.0, "He": math.sqrt(2)}
"""Initialisation -> gain: weights have standard deviation gain/√n in layers of n inputs and n outputs."""
Function = Callable[[np.ndarray], np.ndarray]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))


ACTIVATIONS: Mapping[str, tuple[Function, Function]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "linear": (lambda x: x, np.ones_like),
}
"""Each with its derivative."""


def random_weights(depth: int, gain: float, seed: int) -> list[np.ndarray]:
    """(n, n) each. The same draw for every gain, so that a slider changes nothing else."""
    random = np.random.default_rng((seed, depth))
    return [gain / math.sqrt(WIDTH) * random.standard_normal((WIDTH, WIDTH)) for _ in range(depth)]


@lru_cache(maxsize=64)
def depth_flow(depth: int, activation: str, gain: float, seed: int = 0) -> DepthFlow:
    """Send a batch of normal inputs forward and a normal gradient back."""
    function, derivative = ACTIVATIONS[activation]
    weights, random = random_weights(depth, gain, seed), np.random.default_rng((seed, 1, depth))
    x, gradient = random.standard_normal((2, BATCH, WIDTH))
    before, activations = [], [_rms(x)]
    for weight in weights:
        before.append(x @ weight.T)
        x = function(before[-1])
        activations.append(_rms(x))
    unit, gradients = _rms(gradient), [1.0]
    for weight, z in zip(reversed(weights), reversed(before), strict=True):
        gradient = (gradient * derivative(z)) @ weight
        gradients.append(_rms(gradient) / unit)
    return DepthFlow(gradient_rms=tuple(gradients[::-1]), activation_rms=tuple(activations))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
