"""Descents on a function of two variables: the paths of several optimizers from one start, or of one at many rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.common.errors import LabError
from core.descent.functions import Landscape, Minimum, check_start, find_minimum, top_curvature
from core.descent.optimizers import OPTIMIZERS, Hyper, Terms

STEPS = 200
FAR = 1e6
"""In widths of the map: whoever is as far away has diverged."""
SETTLED = 1e-3
"""Of the map's width: who moves no farther has come to rest."""
Schedule = Literal["constant", "linear", "cosine"]
SCHEDULES: tuple[Schedule, ...] = ("constant", "linear", "cosine")
MULTIPLES = (
    *(round(0.1 * place, 1) for place in range(1, 10)),
    0.95,
    1.0,
    1.05,
    *(round(0.1 * place, 1) for place in range(11, 18)),
)
"""Learning rates of `sweep`, as multiples of 2/λ."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Path:
    """What an optimizer did. n: steps, fewer where it diverged."""

    optimizer: str
    points: np.ndarray
    """(n + 1, 2) with the start."""
    values: np.ndarray
    """(n + 1,) f at each point; may be infinite at the last."""
    gradients: np.ndarray
    """(n, 2) as each step saw them, noise included."""
    rates: np.ndarray
    """(n,) learning rate of each step."""
    terms: dict[str, np.ndarray]
    """Name in the formula -> (n, 2)."""
    diverged: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null for what is not finite."""
        found = {"points": self.points, "values": self.values, "gradients": self.gradients, "rates": self.rates}
        plain = {name: plain_numbers(array) for name, array in (found | self.terms).items()}
        return {"optimizer": self.optimizer, "diverged": self.diverged} | plain


def plain_numbers(array: np.ndarray, digits: int = 0) -> list[Any]:
    """Nested lists, with None for what is not finite. digits: significant ones to keep; 0 for all."""
    if array.ndim > 1:
        return [plain_numbers(row, digits) for row in array]
    values = array.tolist()
    if digits:
        return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]
    return [value if math.isfinite(value) else None for value in values]


def rate_factors(schedule: str, steps: int) -> np.ndarray:
    """(steps,) share of the learning rate that each step has. Raises LabError."""
    done = np.arange(steps) / max(1, steps)
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        return 0.5 * (1 + np.cos(np.pi * done))
    if schedule != "constant":
        raise LabError(f"There is no schedule {schedule[:40]!r}: choose one of {', '.join(SCHEDULES)}.")
    return np.ones(steps)


def gradient_noise(land: Landscape, batch_size: int, seed: int, steps: int = STEPS) -> np.ndarray | None:
    """(steps, 2) added to the gradients, the same for all optimizers: normal, with the function's median gradient over √B as
    its standard deviation. None for batch_size 0, the exact gradient."""
    if not batch_size:
        return None
    spread = land.gradient_scale / math.sqrt(batch_size)
    return np.random.default_rng(seed).normal(0.0, spread, (steps, 2))


def descend(
    land: Landscape,
    start: tuple[float, float],
    runs: Sequence[tuple[str, float]],
    *,
    steps: int = STEPS,
    hyper: Hyper | None = None,
    schedule: str = "constant",
    noise: np.ndarray | None = None,
) -> list[Path]:
    """The path of each (optimizer, learning rate). noise: (steps, 2) added to every gradient. Raises LabError."""
    unknown = next((name for name, _ in runs if name not in OPTIMIZERS), None)
    if unknown is not None:
        raise LabError(f"There is no optimizer {unknown[:40]!r}: choose one of {', '.join(OPTIMIZERS)}.")
    wrong = next((rate for _, rate in runs if not (math.isfinite(rate) and rate > 0)), None)
    if wrong is not None:
        raise LabError(f"A learning rate of {wrong:g} is not valid: give one above 0.")
    far = FAR * land.width
    if not max(map(abs, start)) < far:
        raise LabError(f"The start ({start[0]:g}, {start[1]:g}) is too far away: give coordinates between ±{far:g}.")
    check_start(land.formula, start)
    hyper, factors = hyper or Hyper(), rate_factors(schedule, steps)
    points = np.full((steps + 1, len(runs), 2), np.nan)
    points[0] = start
    gradients = np.full((steps, len(runs), 2), np.nan)
    terms: list[list[Terms]] = [[] for _ in runs]
    taken = [0] * len(runs)
    with np.errstate(all="ignore"):
        for step in range(steps):
            live = [place for place in range(len(runs)) if taken[place] == step]
            if not live:
                break
            _, found, _ = land.formula.jet(points[step, live])
            if noise is not None:
                found = found + noise[step]
            for place, gradient in zip(live, found, strict=True):
                if not (np.isfinite(gradient).all() and abs(points[step, place]).max() < far):
                    continue  # it is over
                name, rate = runs[place]
                before = terms[place][-1] if terms[place] else {}
                gradients[step, place] = gradient
                points[step + 1, place], now = OPTIMIZERS[name].step(
                    points[step, place], gradient, rate * factors[step], step + 1, before, hyper
                )
                terms[place].append(now)
                taken[place] = step + 1
    values = land.formula.values(points[..., 0], points[..., 1])
    return [
        Path(
            optimizer=name,
            points=points[: n + 1, place],
            values=values[: n + 1, place],
            gradients=gradients[:n, place],
            rates=rate * factors[:n],
            terms={key: np.array([item[key] for item in terms[place]]) for key in (terms[place] or [{}])[0]},
            diverged=n < steps or not bool(abs(points[n, place]).max() < far),
        )
        for place, ((name, rate), n) in enumerate(zip(runs, taken, strict=True))
    ]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sweep:
    """Plain gradient descent at many learning rates, and what 2/λ predicts of them."""

    minimum: Minimum
    limit: float
    """2/λ at the minimum; at the start where there is none, or no curvature: then it predicts nothing."""
    multiples: tuple[float, ...]
    """Of the limit, one a path."""
    paths: list[Path]
    sharpness: list[np.ndarray]
    """(n + 1,) largest eigenvalue of the Hessian at each point of each path."""
    outcomes: list[str]
    """As `outcome` calls them, a word a path."""


def sweep(land: Landscape, start: tuple[float, float], multiples: Sequence[float] = MULTIPLES) -> Sweep:
    """Raises LabError where the function does not curve up, so that no rate is too large."""
    check_start(land.formula, start)
    minimum = find_minimum(land.formula, start, land.width)
    top = minimum.curvature or float(top_curvature(land.formula, np.array(start)))
    if not top > 0:
        raise LabError("The function does not curve upwards here, so there is no 2/λ: choose another start.")
    limit = 2 / top
    paths = descend(land, start, [("sgd", multiple * limit) for multiple in multiples])
    return Sweep(
        minimum=minimum,
        limit=limit,
        multiples=tuple(multiples),
        paths=paths,
        sharpness=[top_curvature(land.formula, path.points) for path in paths],
        outcomes=[outcome(land, path) for path in paths],
    )


def outcome(land: Landscape, path: Path) -> str:
    """`settles` where the last quarter of it hardly moves, `slow` where that still goes down, `diverges` where it left for good,
    else `bounces`."""
    if path.diverged or not path.values[-1] <= path.values[0] + abs(path.values[0]):
        return "diverges"
    tail = len(path.values) // 4
    if float(np.ptp(path.points[-tail:], axis=0).max()) < SETTLED * land.width:
        return "settles"
    return "slow" if (np.diff(path.values[-tail:]) <= 0).all() else "bounces"


def lowest(land: Landscape, paths: Sequence[Path], minima: Sequence[tuple[float, float]] = ()) -> float:
    """What f is drawn above: the lowest value of paths and minima, or 0 where that is as good as 0."""
    found = [land.formula.values(np.array([x]), np.array([y])) for x, y in minima]
    values = np.concatenate([*found, *(path.values for path in paths), np.zeros(0)])
    values = values[np.isfinite(values)]
    if not values.size or 0 <= values.min() <= 1e-6 * values.max():
        return 0.0
    return float(values.min())


def ranking(paths: Sequence[Path]) -> list[Path]:
    """The paths by the height at their end, lowest first; those that diverged last."""
    return sorted(paths, key=lambda path: (path.diverged, float(np.nan_to_num(path.values[-1], nan=np.inf))))
