"""Whether a network still answers as it did."""

from __future__ import annotations

import math

import numpy as np

TOLERANCE = 1e-4
"""Of answers: absolute, of answers above 1 relative."""


def difference(found: np.ndarray, wanted: np.ndarray) -> tuple[float, bool]:
    """The largest absolute one, infinite for other shapes; and whether it is within TOLERANCE."""
    largest = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else math.inf
    return largest, largest <= TOLERANCE * max(1.0, float(np.abs(wanted).max()))
