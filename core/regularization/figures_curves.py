"""Learning curves of a study: one small panel for each arm, on axes that all panels share."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import LINE_PX, PAPER, annotate, colour_of, lines_of, new_figure, with_alpha
from core.regularization.analysis import ArmResult
from core.regularization.results import MemberResult, StudyResult

SERIES = {"train": "train_accuracy", "validation": "val_accuracy"}
"""Name of a colour -> field of a Curve."""
PANEL_CHARACTERS = 34
"""Of a line of text across a panel of 230 px."""
Means = dict[int, list[float]]
"""Step -> accuracies (percent) of the seeds that were measured there."""


def curve_bounds(result: StudyResult, train_size: int) -> tuple[float, float]:
    """Ends of an accuracy axis (percent) that holds every curve of a training-set size, in whole tens where it can."""
    values = [
        100 * value
        for item in result.members
        if item.train_size == train_size
        for value in (*item.curve.train_accuracy, *item.curve.val_accuracy)
        if value is not None
    ]
    if not values:
        return 0.0, 100.0
    # Above 100% is nothing but room for the line itself.
    return max(0.0, 10.0 * math.floor((min(values) - 1) / 10)), min(102.0, 10.0 * math.ceil((max(values) + 1) / 10))


def arm_curves(
    result: StudyResult, row: ArmResult, *, dark: bool, revision: str, bounds: tuple[float, float]
) -> go.Figure:
    """One arm at one size: plain-training and validation accuracy over optimizer steps, their means and each seed.

    The gap between the means is shaded; a ring on the validation curve of a seed marks weights that were kept from before
    its last step. bounds: of the axis, percent, the same for all panels.
    """
    figure = new_figure(dark=dark, height=210, zoom=False)
    members = [
        item
        for item in result.members
        if item.variant == row.variant and item.train_size == row.train_size and item.curve.step
    ]
    means = {name: _mean_curve(members, field) for name, field in SERIES.items()}
    _add_gap(figure, means, with_alpha(colour_of("validation", dark=dark), 0.13))
    for name, field in SERIES.items():
        for item in members:
            own = _points(item, field)
            figure.add_scatter(
                x=list(own),
                y=list(own.values()),
                mode="lines",
                name=f"{name}, seed {item.seed}",
                line={"color": with_alpha(colour_of(name, dark=dark), 0.35), "width": 1},
                hoverinfo="skip",
            )
    for name, mean in means.items():
        figure.add_scatter(
            x=list(mean),
            y=[statistics.fmean(values) for values in mean.values()],
            mode="lines" if len(mean) > 1 else "markers",
            name=name,
            line={"color": colour_of(name, dark=dark), "width": 2},
            cliponaxis=False,
            customdata=[len(values) for values in mean.values()],
            hovertemplate=f"{name} %{{y:.1f}}%, seeds: %{{customdata}}<extra></extra>",
        )
    kept = [place for item in members if (place := _kept(item)) is not None]
    if kept:
        figure.add_scatter(
            x=[step for step, _ in kept],
            y=[value for _, value in kept],
            mode="markers",
            name="weights kept",
            marker={
                "symbol": "circle",
                "size": 8,
                "color": PAPER[dark],
                "line": {"width": 2, "color": colour_of("validation", dark=dark)},
            },
            cliponaxis=False,
            hoverinfo="skip",  # a unified box would take it for one of another step
        )
    if not any(means.values()):
        annotate(figure, "no measurement yet", dark)
    title = lines_of(row.label, PANEL_CHARACTERS)
    steps = result.config.steps
    end = max([steps, *(item.curve.step[-1] for item in members)])
    figure.update_xaxes(
        range=[0, end],
        tickvals=[0, steps / 2, steps] if steps % 2 == 0 else [0, steps],
        tickformat=",",
        tickfont_size=11,
        title={"text": "step", "font": {"size": 11}, "standoff": 0},
        hoverformat=",",
        unifiedhovertitle_text="step %{x:,}",
    )
    figure.update_yaxes(range=list(bounds), ticksuffix="%", nticks=5, tickfont_size=11)
    figure.update_layout(
        title={
            "text": "<br>".join(title),
            "font": {"size": 12},
            "xref": "container",
            "x": 0,
            "yref": "paper",
            "y": 1,
            "yanchor": "bottom",
            "pad": {"b": 6 + LINE_PX * (len(title) - 1), "l": 6},
        },
        # Room for two lines in every panel, so that panels in a row stay level; and for half of the last tick label.
        margin={"l": 4, "r": 6 + 3 * len(f"{steps:,}"), "t": 10 + LINE_PX * max(2, len(title)), "b": 4},
        showlegend=False,
        hovermode="x unified",
        hoverlabel_font_size=11,
        uirevision=revision,
        transition_duration=0,
    )
    return figure


def _points(item: MemberResult, field: str) -> dict[int, float]:
    """Step -> accuracy in percent, where it was measured."""
    return {step: 100 * value for step, value in zip(item.curve.step, getattr(item.curve, field)) if value is not None}


def _mean_curve(members: Sequence[MemberResult], field: str) -> Means:
    """Step -> accuracies (percent) of the seeds that were measured there. Once seeds have ended, only of those, and only up
    to where the first of them ended: a mean of fewer would jump there."""
    over = [item for item in members if item.status == "finished"]
    own = [_points(item, field) for item in over or members]
    until = min((item.curve.step[-1] for item in over), default=math.inf)
    steps = sorted({step for points in own for step in points if step <= until})
    return {step: [points[step] for points in own if step in points] for step in steps}


def _add_gap(figure: go.Figure, means: dict[str, Means], colour: str) -> None:
    """The area between the two mean curves, where both were measured."""
    train, validation = means.values()
    steps = [step for step in train if step in validation]
    figure.add_scatter(
        x=steps + steps[::-1],
        y=[statistics.fmean(train[step]) for step in steps]
        + [statistics.fmean(validation[step]) for step in steps[::-1]],
        mode="none",
        name="gap",
        fill="toself",
        fillcolor=colour,
        hoverinfo="skip",
    )


def _kept(item: MemberResult) -> tuple[int, float] | None:
    """Step and validation accuracy (percent) of weights from before the last step of a run."""
    value = _points(item, "val_accuracy").get(item.kept_step or 0, percent(item.val_accuracy))
    return (
        None
        if item.kept_step is None or item.kept_step >= item.curve.step[-1] or value is None
        else (item.kept_step, value)
    )


def percent(accuracy: float | None) -> float | None:
    return None if accuracy is None else 100 * accuracy
