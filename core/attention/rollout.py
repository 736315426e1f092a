"""How much of each input reaches each output through all layers of attention.

Source: Abnar & Zuidema, Quantifying Attention Flow in Transformers, arXiv:2005.00928.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Array = TypeVar("Array")


def roll_out(weights: Sequence[Array]) -> Array:
    """weights: of each layer (H, T, T), rows summing to 1, NumPy or torch. Returns (T, T), rows summing to 1.

    Each layer is the mean of its heads, half of it the residual connection; layers are multiplied.
    """
    found = None
    for layer in weights:
        mean = layer.mean(0) / 2  # type: ignore[attr-defined]
        places = range(len(mean))
        mean[places, places] += 0.5
        found = mean if found is None else mean @ found
    if found is None:
        raise ValueError("no layer")
    return found
