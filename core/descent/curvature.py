"""The largest curvature of a function, by power iteration on Hessian-vector products.

Plain gradient descent at rate η multiplies the distance along a direction of curvature λ by 1 - ηλ a step, so that it grows
where η > 2/λ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ITERATIONS = 100
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Curvature:
    value: float
    """Largest eigenvalue of the Hessian."""
    vector: Any
    """(n,) its direction, of length 1."""
    products: int
    """Hessian-vector products that it took."""
    residual: float
    """‖Hv - λv‖ / |λ|: how far it is from an eigenvector."""


def largest_curvature(
    product: Callable[[Any], Any],
    start: Any,
    *,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
    check: Callable[[int], None] = lambda done: None,
) -> Curvature:
    """product: v -> Hv, on NumPy arrays or tensors (n,). start: (n,), not 0. check: told the products so far; may raise.

    Power iteration finds the eigenvalue of largest absolute value. Where that is negative, or the round does not settle, a
    second round on H + |λ|I finds the largest one. A round ends where the residual is below the tolerance. The answer is the
    largest vᵀHv met, which is never above the largest eigenvalue; NaN where a product is not finite. A start that is itself an
    eigenvector stays what it is, so draw it at random.
    """
    shift, used = 0.0, 0
    unit = vector = start / float(start @ start) ** 0.5
    best, direction, distance = -math.inf, unit, 0.0
    for _ in range(2):
        for _ in range(iterations):
            image = product(vector) + shift * vector
            used += 1
            check(used)
            value = float(vector @ image)
            rest = image - value * vector
            residual = float(rest @ rest) ** 0.5
            length = float(image @ image) ** 0.5
            if not math.isfinite(length):
                return Curvature(value=math.nan, vector=vector, products=used, residual=math.nan)
            if value - shift > best:
                best, direction, distance = value - shift, vector, residual
            settled = residual <= tolerance * abs(value)
            if settled or length == 0:
                break
            vector = image / length
        if shift or length == 0 or (settled and value > 0):
            break
        shift = length
        if value < 0:  # the largest one has faded from the vector
            vector = unit
    return Curvature(value=best, vector=direction, products=used, residual=distance / abs(best) if best else 0.0)
