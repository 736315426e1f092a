"""The answer of a classifier as bars."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import BLUE, MUTED, TEXT, as_text, new_figure, with_alpha


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


def percent(value: float) -> str:
    """A probability for people: `87%`, `99.8%`, `< 1%`; never 0% or 100%, which no model can know."""
    if value >= 0.995:
        return f"{min(99.9, 100 * value):.1f}%"
    if value < 0.005:
        return "< 1%"
    return f"{100 * value:.0f}%"
