"""The loss on planes through networks: maps on one scale, with the path of a run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.common.theme import TEXT, VERMILLION, new_figure, sequential
from core.descent.results import Plane, Surface

HEIGHT_PX = 420
CEILING = 20.0
"""In multiples of the lowest loss: higher ones share the last colour."""


def surface_figure(surface: Surface, place: int, *, dark: bool) -> go.Figure:
    """Contours of the loss (nats) around checkpoint number `place`, with colours that all planes of the surface share; the path
    of its run, and a cross at the checkpoint."""
    plane, heights = surface.planes[place], _heights(surface.planes[place])
    known = [value for each in surface.planes for row in each.loss_nats for value in row]
    positive = [value for value in known if value is not None and value > 0] or [1.0]
    low, high = math.log10(min(positive)), math.log10(max(positive))
    high = min(high, low + math.log10(CEILING))
    figure = new_figure(dark=dark, height=HEIGHT_PX)
    figure.add_contour(
        x=plane.a,
        y=plane.b[: len(heights)],
        z=np.log10(np.maximum(heights, 10**low)),  # a loss of exactly 0 has the lowest colour
        customdata=heights,
        zmin=low,
        zmax=high,
        contours={"start": low, "end": high, "size": (high - low) / 14 or 1},
        colorscale=sequential(dark),
        reversescale=True,
        line={"width": 0.6, "color": TEXT[dark]},
        colorbar=_scale(low, high),
        hovertemplate="(%{x:.2f}, %{y:.2f}): %{customdata:.3f} nats<extra></extra>",
    )
    if plane.path:
        _add_path(figure, plane, dark)
    figure.add_scatter(
        x=[0],
        y=[0],
        mode="markers",
        marker={"symbol": "x", "size": 10, "color": VERMILLION, "line": {"width": 1, "color": TEXT[dark]}},
        hovertemplate="the checkpoint<extra></extra>",
    )
    figure.update_xaxes(
        range=[plane.a[0], plane.a[-1]],
        title_text="direction 1",
        zeroline=False,
        constrain="domain",
        constraintoward="right",
    )
    figure.update_yaxes(
        range=[plane.b[0], plane.b[-1]],
        title_text="direction 2",
        zeroline=False,
        scaleanchor="x",
        constrain="domain",
    )
    figure.update_layout(margin={"t": 8}, showlegend=False)
    return figure


def _scale(low: float, high: float) -> dict[str, Any]:
    """The key of the colours; low, high: powers of ten."""
    ticks = [tick for power in range(-3, 4) for tick in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return {
        "title": {"text": "loss (nats)", "side": "right", "font": {"size": 12}},
        "tickvals": [math.log10(tick) for tick in ticks],
        "ticktext": [f"{tick:g}" for tick in ticks],
        "tickfont": {"size": 12},
        "thickness": 12,
    }


def _heights(plane: Plane) -> np.ndarray:
    return np.array([[np.nan if value is None else value for value in row] for row in plane.loss_nats])


def _add_path(figure: go.Figure, plane: Plane, dark: bool) -> None:
    path = plane.path
    figure.add_scatter(
        x=[point.a for point in path],
        y=[point.b for point in path],
        mode="lines+markers",
        line={"color": VERMILLION, "width": 2.5},
        marker={"size": 6, "line": {"width": 1, "color": TEXT[dark]}},
        customdata=[point.epoch for point in path],
        hovertemplate="epoch %{customdata:.2f}<extra></extra>",
    )
