"""The loss on planes through networks: maps side by side on one scale, with the path of a run."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.common.theme import TEXT, VERMILLION, as_text, new_figure, sequential, shortened
from core.descent.results import Plane, Surface

HEIGHT_PX = 440
TITLE_CHARACTERS = 34
CEILING = 20.0
"""In multiples of the lowest loss: higher ones share the last colour."""


def surface_figure(surface: Surface, *, dark: bool) -> go.Figure:
    """Contours of the loss (nats, logarithmic colours), one map a checkpoint; the path with its epochs, a cross at the
    checkpoint."""
    planes = surface.planes
    titles = [as_text(shortened(plane.title, TITLE_CHARACTERS)) for plane in planes]
    figure = make_subplots(1, len(planes), subplot_titles=titles if len(planes) > 1 else None, horizontal_spacing=0.08)
    figure.update_layout(template=new_figure(dark=dark).layout.template, height=HEIGHT_PX)
    known = [value for plane in planes for row in plane.loss_nats for value in row if value]
    low, high = math.log10(min(known)), math.log10(max(known))
    high = min(high, low + math.log10(CEILING))
    ticks = [
        tick
        for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
        if low <= math.log10(tick) <= high
    ]
    for column, plane in enumerate(planes, 1):
        heights = _heights(plane)
        figure.add_trace(
            go.Contour(
                x=plane.a,
                y=plane.b[: len(heights)],
                z=np.log10(heights),
                customdata=heights,
                zmin=low,
                zmax=high,
                contours={"start": low, "end": high, "size": (high - low) / 14 or 1},
                colorscale=sequential(dark),
                reversescale=True,
                line={"width": 0.6, "color": TEXT[dark]},
                showscale=column == len(planes),
                colorbar={
                    "title": {"text": "loss (nats)", "side": "right"},
                    "tickvals": [math.log10(tick) for tick in ticks],
                    "ticktext": [f"{tick:g}" for tick in ticks],
                    "thickness": 12,
                },
                hovertemplate="(%{x:.2f}, %{y:.2f}): %{customdata:.3f} nats<extra></extra>",
            ),
            1,
            column,
        )
        if plane.path:
            _add_path(figure, plane, column, dark)
        figure.add_trace(
            go.Scatter(
                x=[0],
                y=[0],
                mode="markers",
                marker={"symbol": "x", "size": 10, "color": VERMILLION, "line": {"width": 1, "color": TEXT[dark]}},
                hovertemplate="the checkpoint<extra></extra>",
                showlegend=False,
            ),
            1,
            column,
        )
        ends = {"x": [plane.a[0], plane.a[-1]], "y": [plane.b[0], plane.b[-1]]}
        figure.update_xaxes(range=ends["x"], title_text="direction 1", zeroline=False, row=1, col=column)
        figure.update_yaxes(range=ends["y"], zeroline=False, row=1, col=column)
    figure.update_yaxes(title_text="direction 2", row=1, col=1)
    figure.update_layout(margin={"t": 34 if len(planes) > 1 else 8}, showlegend=False)
    return figure


def _heights(plane: Plane) -> np.ndarray:
    return np.array([[np.nan if value is None else value for value in row] for row in plane.loss_nats])


def _add_path(figure: go.Figure, plane: Plane, column: int, dark: bool) -> None:
    path = plane.path
    figure.add_trace(
        go.Scatter(
            x=[point.a for point in path],
            y=[point.b for point in path],
            mode="lines+markers",
            line={"color": VERMILLION, "width": 2.5},
            marker={"size": 6, "line": {"width": 1, "color": TEXT[dark]}},
            customdata=[point.epoch for point in path],
            hovertemplate="epoch %{customdata:.2f}<extra></extra>",
            showlegend=False,
        ),
        1,
        column,
    )
