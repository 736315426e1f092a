"""How much of each input reaches each output through all layers of attention.

Source: Abnar & Zuidema, Quantifying Attention Flow in Transformers, arXiv:2005.00928.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from core.checkpoints.store import Card
from core.common.errors import LabError

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


def require_finite(card: Card, *found: np.ndarray) -> None:
    """Raises LabError where a network's weights gave what is no number."""
    if not all(np.isfinite(values).all() for values in found):
        raise LabError(f"The weights of {card.title[:100]} are damaged: pick another checkpoint.")
