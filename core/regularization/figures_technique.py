"""One technique looked at closely: what its strength does, and what it does to each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import (
    ACROSS,
    BASELINE_DASH,
    GREEN,
    MUTED,
    PAPER,
    TEXT,
    VERMILLION,
    as_text,
    colour_of,
    empty_figure,
    name_rows,
    new_figure,
    shortened,
    with_alpha,
)
from core.regularization.analysis import ClassChange, StrengthPoint
from core.regularization.figures_curves import percent
from core.regularization.techniques import ALL_TECHNIQUES, plain_number


def strength(
    points: Sequence[StrengthPoint],
    baseline: StrengthPoint | None,
    technique: str,
    *,
    dark: bool,
    at: float | None = None,
) -> go.Figure:
    """Validation accuracy (percent, mean ± standard deviation over seeds) against a technique's strength, weak to strong.

    technique: name in ALL_TECHNIQUES. at: strength that a ring marks. Training accuracy is drawn faintly above it.
    """
    if not points:
        return empty_figure("No strength has a finished run yet.", dark)
    figure = new_figure(dark=dark, height=300, zoom=False)
    ordered = sorted(points, key=lambda point: point.strength)
    labels = [plain_number(point.strength) for point in ordered]
    places = list(range(len(ordered)))
    span = [-0.4, len(ordered) - 0.6]
    if baseline is not None:
        _add_level(figure, baseline, span, dark)
    train, validation = colour_of("train", dark=dark), colour_of("validation", dark=dark)
    spread = any(point.val_sd is not None for point in ordered)
    figure.add_scatter(
        x=places,
        y=[100 * point.val_mean for point in ordered],
        error_y={
            "type": "data",
            "array": [percent(point.val_sd) for point in ordered],
            "color": validation,
            "thickness": 1.5,
            "width": 3,
        }
        if spread
        else None,
        mode="lines+markers",
        name="mean ± sd over seeds" if spread else "validation",
        line={"color": validation, "width": 2},
        marker={"size": 7},
        cliponaxis=False,
        customdata=[["" if p.val_sd is None else f" ± {100 * p.val_sd:.1f}", p.seeds] for p in ordered],
        hovertemplate="validation %{y:.1f}%%{customdata[0]}, seeds: %{customdata[1]}<extra></extra>",
    )
    ring = [place for place in places if at is not None and math.isclose(ordered[place].strength, at)]
    if ring:
        figure.add_scatter(
            x=ring,
            y=[100 * ordered[place].val_mean for place in ring],
            mode="markers",
            name="ring",
            marker={"symbol": "circle-open", "size": 15, "color": TEXT[dark], "line": {"width": 2}},
            hoverinfo="skip",
            showlegend=False,
        )
    if len(ordered) > 1:
        best = max(places, key=lambda place: ordered[place].val_mean)
        figure.add_annotation(
            x=best,
            y=100 * (ordered[best].val_mean + (ordered[best].val_sd or 0.0)),
            text=f"best: {labels[best]}",
            showarrow=False,
            yanchor="bottom",
            yshift=8,
            font={"color": validation, "size": 12},
        )
    trained = [place for place in places if ordered[place].train_mean is not None]
    if trained:
        # A strip of its own: training lies so far above that on one axis all strengths would look alike.
        figure.add_scatter(
            x=trained,
            y=[percent(ordered[place].train_mean) for place in trained],
            yaxis="y2",
            mode="lines+markers",
            name="train",
            line={"color": with_alpha(train, 0.6), "width": 1.5},
            marker={"size": 5},
            cliponaxis=False,
            showlegend=False,
            hovertemplate="train %{y:.1f}%<extra></extra>",
        )
        strip = {"domain": [0.76, 1], "title": {"text": "train (%)"}, "nticks": 3}
        figure.update_layout(yaxis={"domain": [0, 0.68]}, yaxis2=strip)
    unit = ALL_TECHNIQUES[technique].unit
    figure.update_xaxes(
        range=span,
        tickvals=places,
        ticktext=labels if unit else ["on"] * len(ordered),
        title_text=f"{ALL_TECHNIQUES[technique].title}: {unit}" if unit else ALL_TECHNIQUES[technique].title,
        zeroline=False,
    )
    figure.update_layout(
        yaxis={"title": {"text": "validation (%)"}, "nticks": 5},
        hovermode="x unified",
        hoversubplots="axis",
        showlegend=True,
        legend=ACROSS,
    )
    return figure


def class_changes(changes: Sequence[ClassChange], *, dark: bool) -> go.Figure:
    """Change of each class's accuracy in points, first on top: the mean as a bar, every seed as a dot."""
    if not changes:
        return empty_figure("The classes are compared on test, once the study is at its end.", dark)
    figure = new_figure(dark=dark, height=max(300, 70 + 20 * len(changes)), zoom=False)
    places = list(range(len(changes)))
    names = [as_text(shortened(change.label, 26)) for change in changes]
    figure.add_bar(
        x=[100 * change.mean for change in changes],
        y=places,
        orientation="h",
        name="mean",
        marker_color=[with_alpha(GREEN if change.mean > 0 else VERMILLION, 0.6) for change in changes],
        customdata=[[name, len(change.of_seeds)] for name, change in zip(names, changes)],
        hovertemplate="%{customdata[0]}: %{x:+.1f} points, mean of %{customdata[1]}<extra></extra>",
    )
    dots = [(place, value) for place, change in enumerate(changes) for value in change.of_seeds]
    figure.add_scatter(
        x=[100 * value for _, value in dots],
        y=[place for place, _ in dots],
        mode="markers",
        name="each seed",
        marker={"size": 6, "color": TEXT[dark], "line": {"width": 1, "color": PAPER[dark]}},
        customdata=[names[place] for place, _ in dots],
        hovertemplate="%{customdata}: %{x:+.1f} points, one seed<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": MUTED[dark], "width": 1.5})
    figure.update_xaxes(title_text="change of test accuracy (points)", zeroline=False, nticks=7)
    name_rows(figure, names)
    figure.update_layout(margin={"t": 8, "r": 14}, bargap=0.35, showlegend=False)
    return figure


def _add_level(figure: go.Figure, baseline: StrengthPoint, span: list[float], dark: bool) -> None:
    """The baseline as a level line across, with a band of one standard deviation."""
    level, spread = 100 * baseline.val_mean, 100 * (baseline.val_sd or 0.0)
    if spread:
        figure.add_hrect(
            y0=level - spread, y1=level + spread, fillcolor=with_alpha(MUTED[dark], 0.18), line_width=0, layer="below"
        )
    figure.add_scatter(
        x=span,
        y=[level, level],
        mode="lines",
        name="no regularization",
        line={"color": MUTED[dark], "width": 1.5, "dash": BASELINE_DASH},
        hovertemplate="no regularization %{y:.1f}%<extra></extra>",
    )
