"""The answer of a classifier as bars."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import BLUE, MUTED, as_text, new_figure, with_alpha


def top_bars(top: Sequence[tuple[str, float]], *, dark: bool, colour: str = BLUE, calibrated: bool = True) -> go.Figure:
    """Horizontal bars of the most likely classes, in the order given; the likeliest stands out.

    top: (label, probability 0..1).
    calibrated: whether the axis may say so: that was measured, and the image looks like the data.
    """
    labels = [as_text(label) for label, _ in top]
    values = [100 * probability for _, probability in top]
    figure = new_figure(dark=dark, height=44 + 34 * max(1, len(top)))
    figure.add_bar(
        x=values,
        y=labels,
        orientation="h",
        marker_color=[
            colour if value == max(values) else with_alpha(colour, 0.65 if dark else 0.45) for value in values
        ],
        text=[percent(value / 100) for value in values],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.2f}%<extra></extra>",
    )
    figure.update_xaxes(
        range=[0, 101],
        tickvals=[0, 25, 50, 75, 100],
        title_text="calibrated probability (%)" if calibrated else "probability, if it is one of these (%)",
        fixedrange=True,
    )
    figure.update_yaxes(type="category", autorange="reversed", fixedrange=True, showgrid=False, ticklabelstandoff=6)
    figure.update_layout(margin={"t": 4, "r": 56}, bargap=0.3, hoverlabel_bordercolor=MUTED[dark])
    return figure


def percent(value: float) -> str:
    """A probability for people: `87%`, `99.8%`, `< 1%`; never 0% or 100%, which no model can know."""
    if value >= 0.995:
        return f"{min(99.9, 100 * value):.1f}%"
    if value < 0.005:
        return "< 1%"
    return f"{100 * value:.0f}%"
