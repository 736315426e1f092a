"""Functions of two variables to descend on: classics of optimization, or a formula that a person types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from core.common.errors import LabError
from core.descent.formula import Formula, parse_formula

OWN = "own"
MAP_POINTS = 81
"""Points of the map along each side."""
SPANS = (0.5, 50.0)
"""Half of the side of the window of a typed formula."""
NEWTON_STEPS = 200
REACH = 10
"""Widths of the map, from the start: no minimum is looked for farther away."""
NEAR, VANISHED = 1e-3, 1e-3
"""Widths of the map beside a minimum, and the share of the curvature there below which that at the minimum is 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    title: str
    text: str
    """The formula; `K` stands for the condition number."""
    window: tuple[float, float, float, float]
    """x from, x to, y from, y to of the map."""
    start: tuple[float, float]
    note: str
    """What it is known for, in one sentence."""


FUNCTIONS = {
    "quadratic": Function(
        title="Quadratic",
        text="(x**2 + K*y**2)/2",
        window=(-3, 3, -3, 3),
        start=(-2.6, 2),
        note="A valley, K times as steep along y as along x.",
    ),
    "rosenbrock": Function(
        title="Rosenbrock",
        text="(1-x)**2 + 100*(y-x**2)**2",
        window=(-2, 2, -1, 3),
        start=(-1.2, 1),
        note="A curved valley with a flat floor (Rosenbrock 1960).",
    ),
    "beale": Function(
        title="Beale",
        text="(1.5-x+x*y)**2 + (2.25-x+x*y**2)**2 + (2.625-x+x*y**3)**2",
        window=(-1, 4, -2, 2),
        start=(0.5, 1.4),
        note="A flat plain with steep corners (Beale 1958).",
    ),
    "himmelblau": Function(
        title="Himmelblau",
        text="(x**2+y-11)**2 + (x+y**2-7)**2",
        window=(-5, 5, -5, 5),
        start=(-0.5, -1),
        note="Four minima of one depth (Himmelblau 1972).",
    ),
    "saddle": Function(
        title="Saddle",
        text="(x**2 - y**2)/2 + y**4/8",
        window=(-2.5, 2.5, -2.5, 2.5),
        start=(-2, 0.001),
        note="A saddle at (0, 0), and two minima at y = ±√2.",
    ),
    "rastrigin": Function(
        title="Rastrigin",
        text="20 + x**2 + y**2 - 10*cos(2*pi*x) - 10*cos(2*pi*y)",
        window=(-3, 3, -3, 3),
        start=(-2.3, 1.7),
        note="A bowl full of local minima (Rastrigin 1974).",
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """A function, ready to descend on."""

    formula: Formula
    window: tuple[float, float, float, float]
    start: tuple[float, float]
    """Where descents begin, unless somebody chooses another point."""
    levels: np.ndarray
    """(MAP_POINTS, MAP_POINTS) height of the map, 0..1 and NaN where f is not defined; rows from low y to high."""
    gradient_scale: float
    """Median length of the gradient on the map."""
    rates: dict[str, float]
    """Optimizer -> a learning rate that suits this function."""

    @property
    def width(self) -> float:
        return self.window[1] - self.window[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Minimum:
    """Where a function is steepest curved, and so what bounds the learning rate."""

    point: tuple[float, float]
    found: bool
    """False: no minimum lies downhill, and this is the start."""
    curvature: float
    """Largest eigenvalue of the Hessian there; exactly 0 where it vanishes, as at the minimum of x**4 + y**4."""

    @property
    def limit(self) -> float | None:
        """2/λ: plain gradient descent cannot settle here at a larger rate. None where that predicts nothing."""
        return 2 / self.curvature if self.found and self.curvature > 0 else None


def function_text(name: str, *, condition: float = 10.0, formula: str = "") -> str:
    """The formula of a function, as it can be typed. Raises LabError for a name that is not known."""
    if name == OWN:
        return formula
    if name not in FUNCTIONS:
        raise LabError(f"There is no function {name[:60]!r}: choose one of {', '.join(FUNCTIONS)}, or give a formula.")
    return FUNCTIONS[name].text.replace("K", f"{condition:g}")


def landscape(name: str, *, condition: float = 10.0, formula: str = "", span: float = 3.0) -> Landscape:
    """condition: of the quadratic. formula, span: of `own`, which is shown for -span ≤ x, y ≤ span. Raises LabError."""
    text = function_text(name, condition=condition, formula=formula)
    if name in FUNCTIONS:
        return _landscape(text, FUNCTIONS[name].window, FUNCTIONS[name].start)
    if not SPANS[0] <= span <= SPANS[1]:
        raise LabError(f"The window is not valid: choose a half side from {SPANS[0]:g} to {SPANS[1]:g}.")
    return _landscape(text, (-span, span, -span, span), (-0.8 * span, 0.6 * span))


@lru_cache(maxsize=64)
def _landscape(text: str, window: tuple[float, float, float, float], start: tuple[float, float]) -> Landscape:
    formula = parse_formula(text)
    x, y = np.meshgrid(np.linspace(*window[:2], MAP_POINTS), np.linspace(*window[2:], MAP_POINTS))
    heights = formula.values(x, y)
    known = heights[np.isfinite(heights)]
    if not known.size:
        raise LabError("The formula has no value anywhere in this window: change the formula or the window.")
    low, high = float(known.min()), float(known.max())
    if high - low <= 1e-12 * max(1.0, abs(high)):
        raise LabError("The formula has the same value everywhere: use x or y in it.")
    # Equal steps of the logarithm: near a minimum a valley would be one flat colour else.
    floor = max(1e-12 * (high - low), float(np.quantile(known - low, 0.02)))
    _, gradients, _ = formula.jet(np.stack([x, y], -1)[::4, ::4].reshape(-1, 2))
    with np.errstate(all="ignore"):  # f may be infinite somewhere
        levels = np.log((heights - low) / floor + 1) / math.log((high - low) / floor + 1)
        lengths = np.linalg.norm(gradients, axis=1)
    lengths = lengths[np.isfinite(lengths)]
    scale = float(np.median(lengths)) if lengths.size else 1.0
    return Landscape(formula, window, start, levels, scale, _rates(formula, window, start))


def check_start(formula: Formula, start: tuple[float, float]) -> None:
    """Raises LabError where f or its gradient has no value at the start."""
    value, gradient, _ = formula.jet(np.asarray(start, dtype=float))
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise LabError(f"The formula has no value or no slope at ({start[0]:g}, {start[1]:g}): choose another start.")


def find_minimum(formula: Formula, start: tuple[float, float], width: float) -> Minimum:
    """The minimum downhill from a start, by Newton's method along the absolute curvatures, with the largest eigenvalue of its
    Hessian. Where none is found within REACH widths, the start stands for it. Raises LabError."""
    begin = point = np.asarray(start, dtype=float)
    found, first, top = False, 0.0, math.nan
    highest = float(formula.jet(point)[0])
    for _ in range(NEWTON_STEPS):
        value, gradient, hessian = formula.jet(point, hessian=True)
        if hessian is None or not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
            break
        curvatures, axes = np.linalg.eigh(hessian)
        slope = float(np.linalg.norm(gradient))
        first = first or slope
        steepest = max(abs(curvatures).max(), 1e-12 * slope / width, 1e-300)
        step = axes @ ((axes.T @ gradient) / np.maximum(abs(curvatures), 1e-6 * steepest))
        length = float(np.linalg.norm(step))
        # A tail like exp(-x) is as flat as a minimum, but its Newton steps stay long.
        flat = slope <= 1e-9 * max(first, steepest * width) and length <= 1e-6 * width
        if flat and curvatures.min() >= -1e-6 * steepest:
            near = point + NEAR * width * np.concatenate([axes.T, -axes.T])
            heights = formula.values(near[:, 0], near[:, 1])
            if heights.min() < value - 1e-14 * max(abs(value), highest - value):  # an inflection: it goes on downhill
                point = near[heights.argmin()]
                continue
            found = bool(heights.max() > value)
            top = float(curvatures.max())
            top = 0.0 if top <= VANISHED * top_curvature(formula, near).max() else top
            break
        if length == 0:
            break
        step *= min(1.0, 0.1 * width / length)  # a longer one could leave the valley
        share = 1.0
        while share > 1e-12 and not formula.jet(point - share * step)[0] <= value:
            share /= 2
        point = point - share * step
        if abs(point - begin).max() > REACH * width:
            break
    if not found:
        point, top = begin, float(top_curvature(formula, begin))
    if not math.isfinite(top):
        raise LabError(f"The formula has no curvature at ({point[0]:g}, {point[1]:g}): choose another start.")
    return Minimum(point=(float(point[0]), float(point[1])), found=found, curvature=top)


def top_curvature(formula: Formula, points: np.ndarray) -> np.ndarray:
    """(...) largest eigenvalue of the Hessian at points (..., 2), in closed form; NaN where it is not finite."""
    _, _, hessian = formula.jet(points, hessian=True)
    assert hessian is not None
    with np.errstate(all="ignore"):
        half = (hessian[..., 0, 0] + hessian[..., 1, 1]) / 2
        top = half + np.hypot((hessian[..., 0, 0] - hessian[..., 1, 1]) / 2, hessian[..., 0, 1])
    return np.where(np.isfinite(top), top, np.nan)


def _rates(formula: Formula, window: tuple[float, float, float, float], start: tuple[float, float]) -> dict[str, float]:
    """Gradient descent and momentum: 1/λ of where they begin or end. The others move by about their rate a step."""
    width = window[1] - window[0]
    _, _, hessian = formula.jet(np.asarray(start, dtype=float), hessian=True)
    assert hessian is not None
    steepest = float(abs(np.linalg.eigvalsh(hessian)).max()) if np.isfinite(hessian).all() else 0.0
    try:
        steepest = max(find_minimum(formula, start, width).curvature, steepest)
    except LabError:
        pass
    plain = 1 / steepest if steepest > 0 else 0.1
    rates = {"sgd": plain, "momentum": plain / 4, "nesterov": plain / 4}
    rates |= {"rmsprop": width / 200, "adam": width / 40, "adamw": width / 40, "muon": width / 100}
    return {name: float(f"{rate:.2g}") for name, rate in rates.items()}
