"""What covering does to the answer, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import as_text, new_figure


def way(steps: Sequence[int], probabilities: Sequence[float], label: str, *, dark: bool, colour: str) -> go.Figure:
    """Probability 0..1 of one class after each step."""
    figure = new_figure(dark=dark, height=170)
    figure.add_scatter(
        x=list(steps),
        y=[100 * value for value in probabilities],
        mode="lines+markers",
        line={"color": colour, "width": 2.5},
        marker={"size": 6},
        hovertemplate="step %{x}: %{y:.1f}%<extra></extra>",
    )
    figure.update_xaxes(
        title_text="step", fixedrange=True, tickformat="d", nticks=8, range=[-0.3, max(5, steps[-1]) + 0.3]
    )
    figure.update_yaxes(
        title_text=f"{as_text(label)} (%)", range=[-4, 104], tickvals=[0, 50, 100], fixedrange=True, zeroline=False
    )
    figure.update_layout(margin={"t": 8})
    return figure
