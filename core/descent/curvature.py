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

    Power iteration finds the eigenvalue of largest absolute value. Where that is negative, a second round on H - λI finds the
    largest one. Ends where the residual is below the tolerance.
    """
    shift, used = 0.0, 0
    vector = start / float(start @ start) ** 0.5
    for _ in range(2):
        value, residual = 0.0, 0.0
        for _ in range(iterations):
            image = product(vector) - shift * vector
            used += 1
            check(used)
            value = float(vector @ image)
            rest = image - value * vector
            residual = float(rest @ rest) ** 0.5
            length = float(image @ image) ** 0.5
            if length == 0 or residual <= tolerance * abs(value):
                break
            vector = image / length
        if value >= 0 or shift:
            break
        # Away from the axis found, or the next round would start in its own null space.
        shift, vector = value, start[::1] * 1.0
        vector[: len(vector) // 2] *= -1
        vector = vector / float(vector @ vector) ** 0.5
    value += shift
    return Curvature(value=value, vector=vector, products=used, residual=residual / abs(value) if value else 0.0)
