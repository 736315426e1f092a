"""Seven optimizers, one step of each for a single point, with every term of its formula kept.

The same arithmetic as `torch.optim` in float64, in NumPy because a page answers every drag with new paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Terms = dict[str, np.ndarray]
"""Names of a formula -> (2,) its value in this step."""
ALPHA, BETA2, EPS = 0.99, 0.999, 1e-8
"""As torch.optim has them: of RMSProp's average, of Adam's second one, and what keeps both from dividing by 0."""
MUON_STEPS, MUON_EPS = 3, 1e-7


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyper:
    """What all optimizers of a descent share."""

    momentum: float = 0.9
    """Of momentum, Nesterov and Muon; beta1 of Adam and AdamW."""
    weight_decay: float = 0.01
    """Of AdamW."""


Step = Callable[[np.ndarray, np.ndarray, float, int, Terms, Hyper], tuple[np.ndarray, Terms]]
"""(point, gradient, rate, number of the step from 1, terms of the step before, hyper) -> new point and this step's terms."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    title: str
    lines: tuple[tuple[str, str], ...]
    """The formula, and the same to be filled in: {g} is a term of this step, {m-} of the one before; {old}, {new} the point;
    {lr}, {beta}, {decay}, {t} numbers of the step."""
    step: Step
    source: str


def _sgd(point: np.ndarray, g: np.ndarray, lr: float, t: int, old: Terms, hyper: Hyper) -> tuple[np.ndarray, Terms]:
    return point - lr * g, {}


def _momentum(
    point: np.ndarray, g: np.ndarray, lr: float, t: int, old: Terms, hyper: Hyper
) -> tuple[np.ndarray, Terms]:
    v = hyper.momentum * old.get("v", 0.0) + g
    return point - lr * v, {"v": v}


def _nesterov(
    point: np.ndarray, g: np.ndarray, lr: float, t: int, old: Terms, hyper: Hyper
) -> tuple[np.ndarray, Terms]:
    v = hyper.momentum * old.get("v", 0.0) + g
    d = g + hyper.momentum * v
    return point - lr * d, {"v": v, "d": d}


def _rmsprop(point: np.ndarray, g: np.ndarray, lr: float, t: int, old: Terms, hyper: Hyper) -> tuple[np.ndarray, Terms]:
    s = ALPHA * old.get("s", 0.0) + (1 - ALPHA) * g * g
    return point - lr * g / (np.sqrt(s) + EPS), {"s": s}


def _adam(point: np.ndarray, g: np.ndarray, lr: float, t: int, old: Terms, hyper: Hyper) -> tuple[np.ndarray, Terms]:
    beta = hyper.momentum
    m = beta * old.get("m", 0.0) + (1 - beta) * g
    s = BETA2 * old.get("s", 0.0) + (1 - BETA2) * g * g
    mean, square = m / (1 - beta**t), s / (1 - BETA2**t)
    return point - lr * mean / (np.sqrt(square) + EPS), {"m": m, "s": s, "mean": mean, "square": square}


def _adamw(point: np.ndarray, g: np.ndarray, lr: float, t: int, old: Terms, hyper: Hyper) -> tuple[np.ndarray, Terms]:
    return _adam(point * (1 - lr * hyper.weight_decay), g, lr, t, old, hyper)


def _muon(point: np.ndarray, g: np.ndarray, lr: float, t: int, old: Terms, hyper: Hyper) -> tuple[np.ndarray, Terms]:
    v = hyper.momentum * old.get("v", 0.0) + g
    d = g + hyper.momentum * v
    o = orthogonalise_row(d)
    return point - lr * o, {"v": v, "d": d, "o": o}


def orthogonalise_row(row: np.ndarray) -> np.ndarray:
    """Muon's Newton-Schulz iteration on the 1x2 matrix that a point is: its one singular value goes towards 1.
    Source: as core.training.optimizers.Muon, which fixes the norm of its filters besides; a point has no such norm."""
    row = row / (np.sqrt(row @ row) + MUON_EPS)
    for _ in range(MUON_STEPS):
        gram = row @ row
        row = 3.4445 * row + (-4.7750 * gram + 2.0315 * gram * gram) * row
    return row


_VELOCITY = ("v ← β·v + g", "{beta}·{v-} + {g} = {v}")
_AHEAD = ("d = g + β·v", "{g} + {beta}·{v} = {d}")
_MOMENTS = (
    ("m ← β·m + (1−β)·g", "{beta}·{m-} + {beta1}·{g} = {m}"),
    ("s ← 0.999·s + 0.001·g²", "0.999·{s-} + 0.001·{g}² = {s}"),
    ("m̂ = m / (1−βᵗ),  ŝ = s / (1−0.999ᵗ)", "{mean},  {square}   (t = {t})"),
)
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(
        title="Gradient descent",
        lines=(("θ ← θ − η·g", "{old} − {lr}·{g} = {new}"),),
        step=_sgd,
        source="Cauchy 1847",
    ),
    "momentum": Optimizer(
        title="Momentum",
        lines=(_VELOCITY, ("θ ← θ − η·v", "{old} − {lr}·{v} = {new}")),
        step=_momentum,
        source="Polyak 1964",
    ),
    "nesterov": Optimizer(
        title="Nesterov",
        lines=(_VELOCITY, _AHEAD, ("θ ← θ − η·d", "{old} − {lr}·{d} = {new}")),
        step=_nesterov,
        source="Nesterov 1983",
    ),
    "rmsprop": Optimizer(
        title="RMSProp",
        lines=(
            ("s ← 0.99·s + 0.01·g²", "0.99·{s-} + 0.01·{g}² = {s}"),
            ("θ ← θ − η·g / (√s + ε)", "{old} − {lr}·{g} / √{s} = {new}"),
        ),
        step=_rmsprop,
        source="Tieleman & Hinton 2012",
    ),
    "adam": Optimizer(
        title="Adam",
        lines=(*_MOMENTS, ("θ ← θ − η·m̂ / (√ŝ + ε)", "{old} − {lr}·{mean} / √{square} = {new}")),
        step=_adam,
        source="Kingma & Ba, arXiv:1412.6980",
    ),
    "adamw": Optimizer(
        title="AdamW",
        lines=(
            *_MOMENTS,
            (
                "θ ← θ − η·λ·θ − η·m̂ / (√ŝ + ε)",
                "{old} − {lr}·{decay}·{old} − {lr}·{mean} / √{square} = {new}",
            ),
        ),
        step=_adamw,
        source="Loshchilov & Hutter, arXiv:1711.05101",
    ),
    "muon": Optimizer(
        title="Muon",
        lines=(
            _VELOCITY,
            _AHEAD,
            ("o = orthogonalise(d), a 1×2 matrix", "{o}"),
            ("θ ← θ − η·o", "{old} − {lr}·{o} = {new}"),
        ),
        step=_muon,
        source="Jordan et al. 2024",
    ),
}
"""By name."""
