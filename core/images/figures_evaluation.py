"""How good a checkpoint is: accuracy per class, confusion matrix and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from core.common.theme import BLUE, MUTED, PAPER, TEXT, as_text, new_figure, sequential, with_alpha

if TYPE_CHECKING:
    from core.inference.evaluation import CalibrationBin, ClassResult, Evaluation

ROW_PX = 30


def per_class_bars(results: Sequence[ClassResult], *, overall: float, dark: bool, colour: str = BLUE) -> go.Figure:
    """Accuracy of each class with its 95% interval, best on top; a line marks the overall accuracy (0..1)."""
    ordered = sorted(results, key=lambda item: item.accuracy, reverse=True)
    figure = new_figure(dark=dark, height=70 + ROW_PX * len(ordered))
    figure.add_bar(
        x=[100 * item.accuracy for item in ordered],
        y=[as_text(item.label) for item in ordered],
        orientation="h",
        marker_color=with_alpha(colour, 0.75),
        error_x=_intervals(ordered, TEXT[dark], width=4),
        customdata=[[100 * item.low, 100 * item.high, item.n] for item in ordered],
        hovertemplate="%{y}: %{x:.1f}%, 95% interval %{customdata[0]:.1f} to %{customdata[1]:.1f}, "
        "%{customdata[2]} images<extra></extra>",
    )
    figure.add_vline(x=100 * overall, line={"color": MUTED[dark], "width": 1.5, "dash": "dot"})
    figure.add_annotation(
        x=100 * overall,
        y=1.0,
        yref="paper",
        yanchor="bottom",
        xanchor="right" if overall > 0.9 else "center",
        text=f"all {100 * overall:.1f}",
        showarrow=False,
        font={"color": MUTED[dark], "size": 12},
    )
    figure.update_xaxes(range=[0, 101], tickvals=[0, 25, 50, 75, 100], title_text="accuracy (%)", fixedrange=True)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, fixedrange=True, ticklabelstandoff=6)
    figure.update_layout(margin={"t": 24, "r": 18}, bargap=0.35)
    return figure


def confusion_matrix(evaluation: Evaluation, *, dark: bool) -> go.Figure:
    """Counts, one row per true class, coloured by the share of the row; the diagonal is what is right."""
    labels = [as_text(item.label) for item in evaluation.per_class]
    shares = [[count / max(1, sum(row)) for count in row] for row in evaluation.confusion]
    figure = new_figure(dark=dark, height=max(300, 110 + ROW_PX * len(labels)))
    figure.add_heatmap(
        z=[[100 * share for share in row] for row in shares],
        x=labels,
        y=labels,
        customdata=evaluation.confusion,
        colorscale=sequential(dark),
        zmin=0,
        # Mistakes are the news: half the range is spent on the first quarter, so that 5% is not the colour of 0%.
        zmax=60,
        xgap=1,
        ygap=1,
        text=[[str(count or "") for count in row] for row in evaluation.confusion],
        texttemplate="%{text}" if len(labels) <= 12 else None,
        textfont={"size": 11},
        showscale=False,
        hovertemplate="%{y} taken for %{x}: %{customdata} (%{z:.1f}%)<extra></extra>",
    )
    figure.update_xaxes(
        type="category", title_text="answer", side="bottom", tickangle=-45, showgrid=False, fixedrange=True
    )
    figure.update_yaxes(type="category", title_text="true class", autorange="reversed", showgrid=False, fixedrange=True)
    figure.update_layout(margin={"t": 8})
    return figure


def reliability(bins: Sequence[CalibrationBin], *, ece: float, dark: bool, colour: str = BLUE) -> go.Figure:
    """Share of right answers against stated probability; on the diagonal 70% sure is right 70% of the time. ece: 0..1."""
    figure = new_figure(dark=dark, height=340)
    figure.add_scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        name="perfectly calibrated",
        line={"color": MUTED[dark], "dash": "dot", "width": 1.5},
        hoverinfo="skip",
    )
    most = max((item.n for item in bins), default=1)
    figure.add_scatter(
        x=[100 * item.confidence for item in bins],
        y=[100 * item.accuracy for item in bins],
        mode="lines+markers",
        name=f"this checkpoint (ECE {100 * ece:.1f}%)",
        line={"color": colour, "width": 2},
        marker={
            "size": [7 + 15 * (item.n / most) ** 0.5 for item in bins],
            "color": colour,
            "line": {"color": PAPER[dark], "width": 1},
        },
        error_y=_intervals(bins, with_alpha(colour, 0.6), width=3),
        customdata=[[item.n, 100 * item.low, 100 * item.high] for item in bins],
        hovertemplate="stated %{x:.0f}%, right %{y:.1f}% (95% interval %{customdata[1]:.1f} to %{customdata[2]:.1f}), "
        "%{customdata[0]} images<extra></extra>",
    )
    figure.update_xaxes(title_text="stated probability (%)", range=[0, 103], fixedrange=True)
    figure.update_yaxes(title_text="right answers (%)", range=[0, 105], fixedrange=True)
    return figure


def _intervals(results: Sequence[ClassResult | CalibrationBin], colour: str, *, width: int) -> dict[str, Any]:
    """Error bars from each accuracy to the ends of its interval, in percent. width: of the end strokes, pixels."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (item.high - item.accuracy) for item in results],
        "arrayminus": [100 * (item.accuracy - item.low) for item in results],
        "color": colour,
        "thickness": 1.2,
        "width": width,
    }
