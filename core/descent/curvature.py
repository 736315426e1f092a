"""The largest curvature of a function, by power iteration on Hessian-vector products.

Plain gradient descent at rate η multiplies the distance along a direction of curvature λ by 1 - ηλ a step, so that it grows
where η > 2/λ.
"""

from __future__ import annotations

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

    Power iteration finds the eigenvalue of largest absolute value. Where that is negative, or one of each sign keeps it from
    settling, a second round on H + |λ|I finds the largest one. Ends where the residual is below the tolerance.
    """
    shift, used = 0.0, 0
    unit = start / float(start @ start) ** 0.5
    for _ in range(2):
        vector, value, residual, length = unit, 0.0, 0.0, 0.0
        for _ in range(iterations):
            image = product(vector) + shift * vector
            used += 1
            check(used)
            value = float(vector @ image)
            rest = image - value * vector
            residual = float(rest @ rest) ** 0.5
            length = float(image @ image) ** 0.5
            if length == 0 or residual <= tolerance * abs(value):
                break
            vector = image / length
        settled = residual <= tolerance * abs(value)
        if shift or not length or (value > 0 and settled) or not length < float("inf"):
            break
        shift = length
    value -= shift
    return Curvature(value=value, vector=vector, products=used, residual=residual / abs(value) if value else 0.0)
