"""Test accuracy over training images, for each way to start."""

from __future__ import annotations

import statistics

import plotly.graph_objects as go

from core.common.theme import CATEGORICAL, as_text, for_theme, key_on_top, new_figure
from core.images.starts import Starts


def starts_figure(found: Starts, *, dark: bool) -> go.Figure:
    """Means over seeds as lines, single runs as points. x: training images of a class, on a logarithmic axis."""
    figure = new_figure(dark=dark, height=300, zoom=False)
    for (arm, title), base in zip(found.arms.items(), CATEGORICAL, strict=False):
        colour = for_theme(base, dark)
        runs = [run for run in found.runs if run.arm == arm]
        figure.add_scatter(
            x=[run.train_size / found.classes for run in runs],
            y=[100 * run.test_accuracy for run in runs],
            mode="markers",
            marker={"color": colour, "size": 5, "opacity": 0.5},
            name=f"{title}, runs",
            showlegend=False,
            hoverinfo="skip",
        )
        sizes = [size for size in found.train_sizes if found.accuracies(arm, size)]
        figure.add_scatter(
            x=[size / found.classes for size in sizes],
            y=[100 * statistics.fmean(found.accuracies(arm, size).values()) for size in sizes],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            name=as_text(title),
            hovertemplate="%{y:.1f}%",
        )
    ticks = [size / found.classes for size in found.train_sizes]
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=[f"{tick:,g}" for tick in ticks], title_text="training images of a class"
    )
    figure.update_yaxes(title_text="test accuracy (%)", range=[0, 100])
    figure.update_layout(hovermode="x unified")
    key = [
        f'<span style="color:{for_theme(base, dark)}">●</span> {as_text(title)}'
        for title, base in zip(found.arms.values(), CATEGORICAL, strict=False)
    ]
    key_on_top(figure, key)
    figure.update_layout(margin={"t": 20 + 18 * len(key)})
    return figure
