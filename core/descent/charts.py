"""What the browser draws of descents: a map, lines on a scale with its ticks, and paths, as plain values."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.common.theme import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, YELLOW, for_theme
from core.descent.descent import Path, Sweep, plain_numbers
from core.descent.functions import Landscape
from core.descent.optimizers import OPTIMIZERS
from core.descent.results import NetworkSweep

COLOURS = {
    "sgd": BLUE,
    "momentum": ORANGE,
    "nesterov": VERMILLION,
    "rmsprop": PURPLE,
    "adam": GREEN,
    "adamw": SKY,
    "muon": YELLOW,
}
"""Of the optimizers."""
DIGITS = 6
"""Significant digits of what is sent: more than a screen shows."""
LEAST_DECADES = 2
MOST_DECADES = 12
TICKS = 5
Lines = Sequence[tuple[Sequence[int] | None, np.ndarray]]
"""(steps, values) each; None where there is a value for every step."""


def map_data(land: Landscape, minima: Sequence[tuple[float, float]] = ()) -> dict[str, Any]:
    """levels: two bytes a point, row by row from low y, 0 lowest to 65534 highest, 65535 where f has no value."""
    levels = np.where(np.isfinite(land.levels), np.round(65534 * np.clip(land.levels, 0, 1)), 65535).astype("<u2")
    text = base64.b64encode(levels.tobytes()).decode()
    return {"window": list(land.window), "side": len(levels), "levels": text, "minima": [list(each) for each in minima]}


def log_chart(title: str, lines: Lines, *, floor: float = 0.0, cap: float = math.inf) -> dict[str, Any]:
    """Values above `floor` on a logarithmic scale; the title says where it ends above some of them. cap: lines leave the chart
    above it."""
    with np.errstate(all="ignore"):
        logs = [np.log10(values - floor) for _, values in lines]
    known = np.concatenate([each[np.isfinite(each)] for each in logs]) if logs else np.zeros(0)
    high = math.ceil(float(known.max())) if known.size else 0
    low = math.floor(float(known.min())) if known.size else -1
    high = min(high, math.ceil(math.log10(cap))) if 0 < cap < math.inf else high
    low = max(low, high - MOST_DECADES)
    low = min(low, high - LEAST_DECADES)
    every = max(1, math.ceil((high - low) / TICKS))
    ticks = [[power, _power(power)] for power in range(low, high + 1, every)]
    cut = f", cut at {_power(low)}" if any((each < low).any() for each in logs) else ""
    drawn = [
        {
            "x": None if steps is None else list(steps),
            "y": plain_numbers(np.where(np.isneginf(each), low, each), DIGITS),
        }
        for (steps, _), each in zip(lines, logs, strict=True)
    ]
    return {"title": f"{title} (logarithmic{cut})", "lines": drawn, "low": low, "high": high, "ticks": ticks}


def _power(power: int) -> str:
    """Of ten, as a tick has it."""
    return f"{10.0**power:g}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")


def optimizer_series(paths: Sequence[Path], *, dark: bool, only: str = "") -> list[dict[str, Any]]:
    """A path each, with the numbers of its formula. only: the one whose formula is shown, while all are on the move."""
    found = []
    for path in paths:
        kind = OPTIMIZERS[path.optimizer]
        found.append(
            {
                "name": path.optimizer,
                "title": kind.title,
                "colour": for_theme(COLOURS[path.optimizer], dark),
                "points": plain_numbers(path.points, DIGITS),
                "values": plain_numbers(path.values, DIGITS),
                "diverged": path.diverged,
            }
        )
        if only in ("", path.optimizer):
            found[-1] |= {
                "gradients": plain_numbers(path.gradients, DIGITS),
                "rates": plain_numbers(path.rates, DIGITS),
                "terms": {name: plain_numbers(array, DIGITS) for name, array in path.terms.items()},
                "lines": [list(line) for line in kind.lines],
            }
    return found


def height_chart(paths: Sequence[Path], floor: float) -> dict[str, Any]:
    """f above `floor`, the lowest value there is."""
    title = "f" if floor == 0 else f"f above {floor:.4g}".replace("-", "−")
    cap = 100 * (float(paths[0].values[0]) - floor) if paths else math.inf
    return log_chart(title, [(None, path.values) for path in paths], floor=floor, cap=cap)


def sweep_series(sweep: Sweep, words: Sequence[str], *, dark: bool) -> list[dict[str, Any]]:
    """The path at each rate, with a sentence."""
    colour = for_theme(COLOURS["sgd"], dark)
    return [
        {
            "name": f"{multiple:g}",
            "colour": colour,
            "points": plain_numbers(path.points, DIGITS),
            "words": said,
        }
        for multiple, path, said in zip(sweep.multiples, sweep.paths, words, strict=True)
    ]


def sweep_charts(sweep: Sweep, floor: float) -> list[dict[str, Any]]:
    """Height above `floor`, and sharpness with the 2/η of each rate."""
    first = sweep.paths[0]
    cap = 100 * (float(first.values[0]) - floor)
    heights = log_chart("f", [(None, path.values) for path in sweep.paths], floor=floor, cap=cap)
    sharpness = log_chart(
        "Largest curvature λ along the path",
        [(None, values) for values in sweep.sharpness],
        cap=100 * max(sweep.minimum.curvature, float(sweep.sharpness[0][0])),
    )
    rules = [math.log10(2 / (multiple * sweep.limit)) for multiple in sweep.multiples]
    return [heights, _with_rules(sharpness, rules)]


def network_charts(sweep: NetworkSweep) -> list[dict[str, Any]]:
    """Loss, and sharpness with the 2/η of each rate."""
    losses = [(None, np.array(descent.loss_nats)) for descent in sweep.descents]
    sharpness = [([s for s, _ in d.sharpness], np.array([value for _, value in d.sharpness])) for d in sweep.descents]
    rules = [math.log10(2 / descent.rate) for descent in sweep.descents]
    return [
        log_chart("Training loss in nats", losses),
        _with_rules(log_chart("Largest curvature λ", sharpness), rules),
    ]


def _with_rules(chart: dict[str, Any], rules: Sequence[float]) -> dict[str, Any]:
    """A dashed line a series, which the scale holds."""
    low, high = min([chart["low"], *rules]), max([chart["high"], *rules])
    return chart | {"rules": list(rules), "rule": "2/η", "low": math.floor(low), "high": math.ceil(high)}
