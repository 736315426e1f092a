"""How a reason settled while a network learned."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import BLUE, for_theme, new_figure


def likeness_figure(epochs: Sequence[float], likeness: Sequence[float | None], *, dark: bool) -> go.Figure:
    """Rank correlation (-1..1) of each epoch's map with the last one's; None, where there is none, leaves a gap."""
    figure = new_figure(dark=dark, height=240)
    figure.add_scatter(
        x=list(epochs),
        y=list(likeness),
        mode="lines+markers",
        line={"color": for_theme(BLUE, dark), "width": 2.5},
        marker={"size": 8},
        hovertemplate="epoch %{x:g}: %{y:.2f}<extra></extra>",
        showlegend=False,
        cliponaxis=False,
    )
    lowest = min([0.0, *(value for value in likeness if value is not None)])
    figure.update_xaxes(title_text="epoch", fixedrange=True, rangemode="tozero")
    figure.update_yaxes(title_text="rank correlation", range=[min(-0.05, lowest - 0.1), 1.05], fixedrange=True)
    figure.update_layout(margin={"t": 10})
    return figure
