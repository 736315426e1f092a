"""What covering does to the answer: bars before and after, and the way there."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import MUTED, TEXT, as_text, new_figure, with_alpha
from core.images.figures import percent


def before_after(
    rows: Sequence[tuple[str, float, float]], emphasis: str, *, dark: bool, colour: str, calibrated: bool = True
) -> go.Figure:
    """Filled bars of the probabilities now, outlined ones of those before, in the order given.

    rows: (class, probability before, now). emphasis: the class that stands out. calibrated: whether the axis may say so.
    """
    labels = [as_text(label) for label, _, _ in rows]
    before, now = [100 * row[1] for row in rows], [100 * row[2] for row in rows]
    said = [f"{percent(was)} → {percent(is_now)}" for _, was, is_now in rows]
    figure = new_figure(dark=dark, height=74 + 34 * len(rows))
    weak = with_alpha(colour, 0.65 if dark else 0.45)
    hover = {"customdata": said, "hovertemplate": "%{y}: %{customdata}<extra></extra>", "orientation": "h"}
    figure.add_bar(
        x=now, y=labels, name="now", marker_color=[colour if row[0] == emphasis else weak for row in rows], **hover
    )
    figure.add_bar(
        x=before,
        y=labels,
        name="before",
        marker={"color": "rgba(0,0,0,0)", "line": {"color": MUTED[dark], "width": 1.5}},
        **hover,
    )
    for label, value in zip(labels, now, strict=True):
        figure.add_annotation(
            x=1.02,
            xref="paper",
            y=label,
            text=percent(value / 100),
            showarrow=False,
            xanchor="left",
            font_color=TEXT[dark],
        )
    figure.update_xaxes(
        range=[0, 100.5],
        tickvals=[0, 25, 50, 75, 100],
        title_text=f"{'calibrated' if calibrated else 'uncalibrated'} probability (%)",
        fixedrange=True,
    )
    figure.update_yaxes(type="category", autorange="reversed", fixedrange=True, showgrid=False, ticklabelstandoff=6)
    legend = {"itemclick": False, "itemdoubleclick": False}
    figure.update_layout(margin={"t": 30, "r": 56}, bargap=0.3, barmode="overlay", legend=legend)
    return figure


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
