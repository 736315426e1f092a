"""The loss on planes through networks, as maps and in three dimensions, on one scale, with the path of a run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.common.theme import GRID, MUTED, ORANGE, PAPER, TEXT, VERMILLION, new_figure, sequential
from core.descent.results import Plane, Surface

HEIGHT_PX = 460
KEY_PX = 60
"""Above a plane."""
CEILING = 20.0
"""In multiples of the lowest loss: higher ones share the last colour."""
DARK = ((0.0, "#12171d"), (0.4, "#16394f"), (1.0, "#1f76aa"))
"""On a dark page the brightest colours of the lab's scale would swallow lines and path."""
EYE = {"x": 0.8, "y": -1.63, "z": 1.5}
"""From above, so that the far side of a valley does not hide the path."""
LIFT = 0.015
"""Share of the height by which a path lies above its surface, which would hide it."""


def surface_figure(surface: Surface, place: int, *, dark: bool) -> go.Figure:
    """Contours of the loss (nats) around checkpoint number `place`, with colours that all planes of the surface share; the path
    of its run, and a cross at the checkpoint."""
    plane, heights, low, high = _scaled(surface, place)
    figure = new_figure(dark=dark, height=HEIGHT_PX)
    figure.add_contour(
        x=plane.a,
        y=plane.b[: len(heights)],
        z=np.log10(np.maximum(heights, 10**low)),  # a loss of exactly 0 has the lowest colour
        customdata=heights,
        zmin=low,
        zmax=high,
        contours={"start": low, "end": high, "size": (high - low) / 14 or 1},
        colorscale=_colours(dark),
        reversescale=True,
        line={"width": 0.8 if dark else 0.6, "color": TEXT[dark]},
        colorbar=_key(low, high),
        hovertemplate="(%{x:.2f}, %{y:.2f}): %{customdata:.3f} nats<extra></extra>",
    )
    if plane.path:
        x, y = [point.a for point in plane.path], [point.b for point in plane.path]
        halo = {"width": 5, "color": PAPER[dark]}
        figure.add_scatter(x=x, y=y, mode="lines", line=halo, hoverinfo="skip")
        figure.add_scatter(x=x, y=y, mode="lines+markers", marker_size=6, **_path_look(plane, dark))
    figure.add_scatter(
        x=[0],
        y=[0],
        mode="markers",
        marker={"symbol": "x", "size": 10, "color": _mark(dark), "line": {"width": 1, "color": PAPER[dark]}},
        hovertemplate="the checkpoint<extra></extra>",
    )
    axis: dict[str, Any] = {"zeroline": False, "constrain": "domain"}
    figure.update_xaxes(range=[plane.a[0], plane.a[-1]], title_text="direction 1", **axis)
    figure.update_yaxes(range=[plane.b[0], plane.b[-1]], title_text="direction 2", scaleanchor="x", **axis)
    figure.update_layout(margin={"t": KEY_PX}, showlegend=False)
    return figure


def surface_3d_figure(surface: Surface, place: int, *, dark: bool) -> go.Figure:
    """The same in three dimensions: the height is the logarithm of the loss."""
    plane, heights, low, high = _scaled(surface, place)
    levels = np.clip(np.log10(np.maximum(heights, 10**low)), low, high)
    b = plane.b[: len(heights)]
    figure = new_figure(dark=dark, height=HEIGHT_PX)
    figure.add_surface(
        x=plane.a,
        y=b,
        z=levels,
        customdata=heights,
        cmin=low,
        cmax=high,
        colorscale=_colours(dark),
        reversescale=True,
        colorbar=_key(low, high) | {"len": 0.8},
        contours={"z": {"show": True, "start": low, "end": high, "size": (high - low) / 14 or 1, "color": TEXT[dark]}},
        lighting={"ambient": 0.8, "diffuse": 0.4, "specular": 0.05},
        hovertemplate="(%{x:.2f}, %{y:.2f}): %{customdata:.3f} nats<extra></extra>",
    )
    lift = LIFT * (high - low)
    if plane.path:
        x, y = np.array([point.a for point in plane.path]), np.array([point.b for point in plane.path])
        z = on_grid(levels, np.array(plane.a), np.array(b), x, y) + lift
        figure.add_scatter3d(x=x, y=y, z=z, mode="lines+markers", marker_size=3, **_path_look(plane, dark, width=6))
    else:
        top = on_grid(levels, np.array(plane.a), np.array(b), np.zeros(1), np.zeros(1)) + lift
        marker = {"symbol": "diamond", "size": 6, "color": _mark(dark)}
        figure.add_scatter3d(
            x=[0], y=[0], z=top, mode="markers", marker=marker, hovertemplate="the checkpoint<extra></extra>"
        )
    axis = {"gridcolor": GRID[dark], "color": MUTED[dark], "showbackground": False, "zeroline": False, "nticks": 5}
    ticks = {name: value for name, value in _key(low, high).items() if name in ("tickvals", "ticktext")}
    figure.update_layout(
        margin={"t": KEY_PX, "l": 0, "r": 0, "b": 0},
        showlegend=False,
        scene={
            "xaxis": axis | {"title": {"text": "direction 1"}},
            "yaxis": axis | {"title": {"text": "direction 2"}},
            "zaxis": axis | ticks | {"title": {"text": "loss (nats)"}, "range": [low, high + 2 * lift]},
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 0.7},
            "camera": {"eye": EYE, "center": {"x": 0, "y": 0, "z": -0.15}},
        },
    )
    return figure


def on_grid(levels: np.ndarray, a: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,) levels (len(b), len(a)) at points x, y between those of an even grid, bilinearly; NaN outside of it."""
    if min(levels.shape) < 2:
        return np.full(len(x), np.nan)
    u, v = ((at - axis[0]) / (axis[1] - axis[0]) for at, axis in ((x, a), (y, b)))
    i, j = (np.clip(each.astype(int), 0, len(axis) - 2) for each, axis in ((u, a), (v, b)))
    s, t = u - i, v - j
    low, high = ((1 - s) * levels[row, i] + s * levels[row, i + 1] for row in (j, j + 1))
    inside = (u >= 0) & (u <= len(a) - 1) & (v >= 0) & (v <= len(b) - 1)
    return np.where(inside, (1 - t) * low + t * high, np.nan)


def _scaled(surface: Surface, place: int) -> tuple[Plane, np.ndarray, float, float]:
    """A plane, its losses with NaN for what is no number, and the powers of ten between which all planes of the surface lie."""
    plane = surface.planes[place]
    known = [value for each in surface.planes for row in each.loss_nats for value in row]
    positive = [value for value in known if value is not None and value > 0] or [1.0]
    low, high = math.log10(min(positive)), math.log10(max(positive))
    return plane, np.array(plane.loss_nats, dtype=float), low, min(high, low + math.log10(CEILING))


def _key(low: float, high: float) -> dict[str, Any]:
    """The key of the colours, above the plane: beside it, it would take a third of a phone's width. low, high: powers of ten."""
    ticks = [tick for power in range(-3, 4) for tick in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return {
        "orientation": "h",
        "y": 1.0,
        "yanchor": "bottom",
        "title": {"text": "loss (nats)", "side": "top", "font": {"size": 12}},
        "tickvals": [math.log10(tick) for tick in ticks],
        "ticktext": [f"{tick:g}" for tick in ticks],
        "tickfont": {"size": 12},
        "thickness": 10,
    }


def _colours(dark: bool) -> list[list[object]]:
    return [list(stop) for stop in DARK] if dark else sequential(dark)


def _mark(dark: bool) -> str:
    return ORANGE if dark else VERMILLION


def _path_look(plane: Plane, dark: bool, width: float = 2.5) -> dict[str, Any]:
    return {
        "line": {"color": _mark(dark), "width": width},
        "marker_line": {"width": 1, "color": PAPER[dark] if dark else TEXT[dark]},
        "customdata": [point.epoch for point in plane.path],
        "hovertemplate": "epoch %{customdata:.2f}<extra></extra>",
    }
