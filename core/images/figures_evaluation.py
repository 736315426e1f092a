"""How good a checkpoint is: accuracy per class, confusion matrix and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from core.common.theme import BLUE, MUTED, PAPER, TEXT, as_text, new_figure, sequential, shortened, with_alpha

if TYPE_CHECKING:
    from core.inference.evaluation import CalibrationBin, ClassResult, Evaluation

ROW_PX = 30
MATRIX_PX = 420
"""Most that the rows of a confusion matrix take: with many classes they are thin."""
CELL_NUMBERS = 12
"""Most classes with a count written into each cell."""
LABEL_CHARACTERS = 16
MOST_TICKS = 30
"""Most classes that an axis of a confusion matrix names."""


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


def confusion_matrix(
    evaluation: Evaluation, *, dark: bool, clickable: bool = False, chosen: tuple[int | None, int | None] = (None, None)
) -> go.Figure:
    """Counts, one row per true class, coloured by the share of the row; the diagonal is what is right.

    clickable: each cell with images holds a point that nobody sees, which a click selects: its customdata is
    (row, column). chosen: true class and answer to be framed; None for any.
    """
    labels = [as_text(item.label) for item in evaluation.per_class]
    count = len(labels)
    row_px = min(ROW_PX, MATRIX_PX / count)
    shares = [[cell / max(1, sum(row)) for cell in row] for row in evaluation.confusion]
    figure = new_figure(dark=dark, height=max(240, round(110 + row_px * count)))
    figure.add_heatmap(
        z=[[100 * share for share in row] for row in shares],
        x=labels,
        y=labels,
        customdata=evaluation.confusion,
        colorscale=sequential(dark),
        zmin=0,
        # Mistakes are the news: half the range is spent on the first quarter, so that 5% is not the colour of 0%.
        zmax=60,
        xgap=1 if row_px > 10 else 0,
        ygap=1 if row_px > 10 else 0,
        text=[[str(cell or "") for cell in row] for row in evaluation.confusion],
        texttemplate="%{text}" if count <= CELL_NUMBERS else None,
        textfont={"size": 11},
        showscale=False,
        hovertemplate="%{y} taken for %{x}: %{customdata} (%{z:.1f}%)<extra></extra>",
    )
    if clickable:
        _add_click_points(figure, evaluation.confusion, labels, row_px)
    _frame(figure, chosen, count, TEXT[dark])
    named = labels[:: -(-count // MOST_TICKS)]
    ticks = {
        "type": "category",
        "tickvals": named,
        "ticktext": [shortened(label, LABEL_CHARACTERS) for label in named],
        "showgrid": False,
        "fixedrange": True,
    }
    figure.update_xaxes(title_text="answer", side="bottom", tickangle=-45, range=[-0.5, count - 0.5], **ticks)
    figure.update_yaxes(title_text="true class", range=[count - 0.5, -0.5], **ticks)
    figure.update_layout(margin={"t": 8}, hovermode="closest", showlegend=False)
    return figure


def _add_click_points(
    figure: go.Figure, confusion: Sequence[Sequence[int]], labels: Sequence[str], size_px: float
) -> None:
    """A heatmap has nothing that can be selected."""
    cells = [(i, j, cell) for i, row in enumerate(confusion) for j, cell in enumerate(row) if cell]
    marker = {"opacity": 0, "size": max(6, size_px), "symbol": "square"}
    figure.add_scatter(
        x=[labels[j] for _, j, _ in cells],
        y=[labels[i] for i, _, _ in cells],
        mode="markers",
        marker=marker,
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        customdata=[[i, j] for i, j, _ in cells],
        hovertext=[
            f"{labels[i]} answered right: {cell}" if i == j else f"{labels[i]} taken for {labels[j]}: {cell}"
            for i, j, cell in cells
        ],
        hovertemplate="%{hovertext}, click for the images<extra></extra>",
    )


def _frame(figure: go.Figure, chosen: tuple[int | None, int | None], count: int, colour: str) -> None:
    """A frame around a cell, a whole row or a whole column."""
    true, answer = chosen
    if true is None and answer is None:
        return
    top, bottom = (-0.5, count - 0.5) if true is None else (true - 0.5, true + 0.5)
    left, right = (-0.5, count - 0.5) if answer is None else (answer - 0.5, answer + 0.5)
    figure.add_shape(type="rect", x0=left, x1=right, y0=top, y1=bottom, line={"color": colour, "width": 2})


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
