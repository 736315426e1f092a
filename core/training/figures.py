"""Learning curves of one run, live or finished."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.common.theme import colour_of, new_figure, with_alpha

SHORT = 4
"""Evaluations up to which the figure of a language model's loss holds its very first readings too."""
POINTS = 400
"""Readings drawn per curve; more are averaged in groups, the eye could not tell them apart."""

Row = Mapping[str, Any]


def loss_curves(
    rows: Sequence[Row], *, dark: bool, revision: str, epochs: float | None = None, height: int = 300
) -> go.Figure:
    """Training and validation loss (nats) over epochs. rows: a run's metrics.

    revision: while it stays the same, so does the viewer's zoom. epochs: length of the whole run, for the axis.
    """
    return _curves(rows, "loss_nats", "loss (nats)", 1.0, dark=dark, revision=revision, epochs=epochs, height=height)


def error_curves(rows: Sequence[Row], *, dark: bool, revision: str, epochs: float | None = None) -> go.Figure:
    """Training and validation error of a generator's velocities over epochs. The first readings may lie above the plot."""
    figure = _curves(rows, "loss_nats", "squared error", 1.0, dark=dark, revision=revision, epochs=epochs, height=320)
    read, known = readings(rows, "train_loss_nats")[1], [row["val_loss_nats"] for row in evaluations(rows)]
    if known:
        late = sorted(read)[: -(-9 * len(read) // 10)] + known
        room = max(0.1 * (max(late) - min(late)), 0.01)
        figure.update_yaxes(range=[max(0.0, min(late) - room), max(late) + room], rangemode="normal")
    return figure


def text_loss_curves(rows: Sequence[Row], *, dark: bool, revision: str, epochs: float | None = None) -> go.Figure:
    """Training and validation loss of a language model over epochs, in nats on the left and bits per character on the right.

    The first readings, of a network that knows nothing yet, may lie above the plot.
    """
    figure = loss_curves(rows, dark=dark, revision=revision, epochs=epochs, height=320)
    read = readings(rows, "train_loss_nats")[1]
    known = [row["val_loss_nats"] for row in evaluations(rows) if row.get("val_loss_nats") is not None]
    known += [value for value in train_at_evaluations(rows, "train_loss_nats") if value is not None]
    if read or known:
        # A short run shows all of its fall; in a long one that would press the rest into a line.
        low, high = min([*read, *known]), max(read if len(evaluations(rows)) <= SHORT and read else known)
        room = max(0.1 * (high - low), 0.05)
        bounds = [max(0.0, low - room), high + room]
        figure.update_yaxes(range=bounds, rangemode="normal")
        # An axis is drawn only where a trace is on it: an empty one will do.
        figure.add_scatter(x=[None], y=[None], yaxis="y2", showlegend=False, hoverinfo="skip")
        figure.update_layout(
            yaxis2={
                "title": {"text": "bits per character"},
                "overlaying": "y",
                "side": "right",
                "range": [bound / math.log(2) for bound in bounds],
                "showgrid": False,
                "tickmode": "auto",
                "nticks": 6,
                "automargin": True,
            }
        )
    return figure


def accuracy_curves(
    rows: Sequence[Row], *, dark: bool, revision: str, epochs: float | None = None, height: int = 300
) -> go.Figure:
    """Training and validation accuracy (percent) over epochs, with the best validation value marked."""
    figure = _curves(
        rows, "accuracy", "accuracy (%)", 100.0, dark=dark, revision=revision, epochs=epochs, height=height
    )
    known = [row for row in evaluations(rows) if row.get("val_accuracy") is not None]
    best = max(known, key=lambda row: row["val_accuracy"], default=None)
    if best is not None:
        figure.add_scatter(
            x=[best["epoch"]],
            y=[100 * best["val_accuracy"]],
            mode="markers",
            name="best",
            marker={
                "symbol": "circle-open",
                "size": 13,
                "color": colour_of("validation", dark=dark),
                "line": {"width": 2},
            },
            cliponaxis=False,
            hoverinfo="skip",
        )
    return figure


def evaluations(rows: Sequence[Row]) -> list[Row]:
    """The rows that hold validation figures."""
    return [row for row in rows if row.get("kind") == "eval"]


def train_at_evaluations(rows: Sequence[Row], field: str) -> list[float | None]:
    """The training figure to hold against each validation figure: the mean of the readings in the last quarter before it.

    The mean over the whole interval would compare validation with weights that are half an epoch older on average.
    """
    found: list[float | None] = []
    start = 0.0
    pairs = [(row["epoch"], row[field]) for row in rows if row.get("kind") == "train" and row.get(field) is not None]
    for row in evaluations(rows):
        end = row["epoch"]
        recent = [value for epoch, value in pairs if end - (end - start) / 4 <= epoch <= end]
        found.append(sum(recent) / len(recent) if recent else row.get(field))
        start = end
    return found


def readings(rows: Sequence[Row], field: str) -> tuple[list[float], list[float]]:
    """(epochs, values) of the training rows that were read, at most POINTS of them, neighbours averaged."""
    pairs = [
        (float(row["epoch"]), float(row[field]))
        for row in rows
        if row.get("kind") == "train" and row.get(field) is not None
    ]
    size = -(-len(pairs) // POINTS) or 1
    groups = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return (
        [sum(epoch for epoch, _ in group) / len(group) for group in groups],
        [sum(value for _, value in group) / len(group) for group in groups],
    )


def _curves(
    rows: Sequence[Row],
    field: str,
    title: str,
    scale: float,
    *,
    dark: bool,
    revision: str,
    epochs: float | None,
    height: int,
) -> go.Figure:
    figure = new_figure(dark=dark, height=height)
    train, validation = colour_of("train", dark=dark), colour_of("validation", dark=dark)
    evaluated = evaluations(rows)
    read_at, values = readings(rows, f"train_{field}")
    figure.add_scatter(
        x=read_at,
        y=[scale * value for value in values],
        mode="lines",
        name="train, each reading" if evaluated else "train",
        line={"color": with_alpha(train, 0.45 if evaluated else 0.9), "width": 1},
        hoverinfo="skip",
        showlegend=not evaluated,
    )
    at = [row["epoch"] for row in evaluated]
    markers = "lines+markers" if len(evaluated) <= 60 else "lines"
    unit = "%{y:.1f}%" if scale == 100 else "%{y:.3f} nats"
    compared = {
        "train": train_at_evaluations(rows, f"train_{field}"),
        "validation": [row.get(f"val_{field}") for row in evaluated],
    }
    for name, colour, fill in (("train", train, None), ("validation", validation, "tonexty")):
        figure.add_scatter(
            x=at,
            y=[None if value is None else scale * value for value in compared[name]],
            mode=markers,
            name=name,
            line={"color": colour, "width": 2},
            marker={"size": 5},
            cliponaxis=False,
            showlegend=bool(evaluated),
            fill=fill,
            fillcolor=with_alpha(validation, 0.12),
            hovertemplate=f"{name} {unit}, epoch %{{x:.2f}}<extra></extra>",
        )
    # Whole batches may carry a run a little past a fraction of an epoch: its last point is still inside the plot.
    end = max([epochs or 0.0, *at, *read_at[-1:]])
    figure.update_xaxes(title_text="epoch", rangemode="tozero", range=[0, end] if epochs else None)
    figure.update_yaxes(title_text=title)
    if scale == 1.0:
        figure.update_yaxes(rangemode="tozero")
    figure.update_layout(uirevision=revision, hovermode="x unified", transition_duration=0)
    return figure
