"""Curves of several runs in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.common.theme import CATEGORICAL, as_text, for_theme, new_figure
from core.training.figures import evaluations

DASHES = ("solid", "dash", "dot", "dashdot")

METRICS = {
    "val_accuracy": ("validation accuracy (%)", 100.0),
    "val_loss_nats": ("validation loss (nats)", 1.0),
    "train_accuracy": ("training accuracy (%)", 100.0),
    "train_loss_nats": ("training loss (nats)", 1.0),
}
X_AXES = {
    "epoch": "epoch",
    "seconds": "training time (s)",
    "step": "optimizer step",
    "examples": "training examples seen",
}


def overlay(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    metric: str,
    against: str,
    dark: bool,
    places: Sequence[int] | None = None,
) -> go.Figure:
    """One line per run. curves: name for people -> the run's metrics; metric: key of METRICS; against: key of X_AXES.

    places: of each run's colour and dash in their order; None counts them off.
    """
    title, scale = METRICS[metric]
    figure = new_figure(dark=dark, height=380)
    for index, (name, rows) in zip(places or range(len(curves)), curves.items()):
        points = [row for row in evaluations(rows) if row.get(metric) is not None and row.get(against) is not None]
        figure.add_scatter(
            x=[row[against] for row in points],
            y=[scale * row[metric] for row in points],
            mode="lines+markers" if len(points) <= 60 else "lines",
            name=as_text(name),
            line={
                "color": for_theme(CATEGORICAL[index % len(CATEGORICAL)], dark),
                "width": 2,
                "dash": DASHES[index // len(CATEGORICAL) % len(DASHES)],
            },
            marker={"size": 5},
            hovertemplate="%{y:.3g} at %{x:.4g}<extra>" + as_text(name) + "</extra>",
        )
    figure.update_xaxes(title_text=X_AXES[against], rangemode="tozero")
    figure.update_yaxes(title_text=title)
    figure.update_layout(uirevision=f"runs-{metric}-{against}", showlegend=True)
    return figure
