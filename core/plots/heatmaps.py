"""How much each pixel matters, shown as the pixels that there are."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from core.plots.theme import new_figure, sequential

OUTLIERS = 99.0
"""Percentile at which the colours end: a single pixel must not turn all others pale."""


def heatmap(values: np.ndarray, *, dark: bool, side: int = 224) -> go.Figure:
    """One square a pixel, on a colour scale of the map's own. values: (H, W) >= 0; side: pixels of the screen."""
    figure = new_figure(dark=dark, height=side)
    top = float(np.percentile(values, OUTLIERS))
    figure.add_heatmap(
        z=values,
        zmin=0,
        zmax=top if top > 0 else 1.0,
        colorscale=sequential(dark),
        showscale=False,
        hovertemplate="row %{y}, column %{x}: %{z:.3g}<extra></extra>",
    )
    figure.update_xaxes(visible=False, fixedrange=True, constrain="domain")
    figure.update_yaxes(visible=False, fixedrange=True, autorange="reversed", scaleanchor="x", constrain="domain")
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0}, width=side)
    return figure


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, -1..1, of two maps of one shape: 1 where they put pixels in the same order. 0 where one is constant."""
    ranks = [_ranks(values.ravel()) for values in (one, other)]
    if any(np.ptp(values) == 0 for values in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Mean ranks: equal values share theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[place]
