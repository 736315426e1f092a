"""What a teacher was worth: students beside controls of the same seed, and what it finds plausible besides the truth."""

from __future__ import annotations

import statistics

import plotly.graph_objects as go

from core.common.theme import (
    ACROSS,
    BLUE,
    GREEN,
    GRID,
    MUTED,
    PAPER,
    TEXT,
    VERMILLION,
    as_text,
    empty_figure,
    for_theme,
    new_figure,
    sequential,
    with_alpha,
)
from core.compression.analysis import teacher_effect
from core.compression.results import CompressionResult

ROW_PX = 30
VERDICTS = {
    "helps": ("the teacher helped", GREEN, "circle"),
    "noise": ("within seed noise", "", "circle-open"),
    "hurts": ("the teacher hurt", VERMILLION, "diamond"),
    "none": ("one seed: no verdict", "", "x-thin-open"),
}
"""Kind of an effect -> its name, colour (empty: neutral) and symbol; symbols as in core.regularization.figures."""
MOST_NUMBERS = 12
"""Classes up to which the cells of soft labels hold their numbers."""


def students(result: CompressionResult, *, dark: bool) -> go.Figure:
    """Students and controls of each seed as a pair, and below them the difference with the 95% interval of its mean."""
    effect = teacher_effect(result)
    if effect is None:
        return empty_figure("A student and its control with the same seed have to be finished first.", dark)
    n = len(effect.seeds)
    unit, digits = ("nats", 3) if effect.text else ("points", 1)
    number = f".{digits}f"
    value_words = f"%{{x:{number}}}{' nats' if effect.text else '%'}"
    blue, muted = for_theme(BLUE, dark), MUTED[dark]
    height = 170 + ROW_PX * (2 * n + 2)
    figure = new_figure(dark=dark, height=height, zoom=False)
    # Rows: one a seed, and their means last.
    ours = [*effect.students, statistics.fmean(effect.students)]
    theirs = [*effect.controls, statistics.fmean(effect.controls)]
    names = [*(f"seed {seed}" for seed in effect.seeds), "mean"]
    rows = list(range(n + 1))
    figure.add_scatter(
        x=[value for pair in zip(theirs, ours) for value in (*pair, None)],
        y=[value for row in rows for value in (row, row, None)],
        mode="lines",
        line={"color": with_alpha(muted, 0.7), "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    for name, values, fill, line in (
        ("no teacher", theirs, PAPER[dark], VERMILLION),
        ("with teacher", ours, blue, blue),
    ):
        figure.add_scatter(
            x=values,
            y=rows,
            mode="markers",
            name=name,
            marker={
                "size": [9] * n + [13],
                "color": fill,
                "line": {"width": 2, "color": line},
                "opacity": 1,
            },
            customdata=names,
            hovertemplate=f"{name}, %{{customdata}}: {value_words}<extra></extra>",
            cliponaxis=False,
        )
    label, strong, symbol = VERDICTS[effect.kind]
    colour, half_width = strong or muted, effect.half_width
    figure.add_scatter(
        x=list(effect.differences),
        y=rows[:-1],
        yaxis="y2",
        xaxis="x2",
        mode="markers",
        marker={"size": 7, "color": TEXT[dark], "line": {"width": 1, "color": PAPER[dark]}},
        customdata=names[:-1],
        hovertemplate=f"%{{customdata}}: %{{x:+{number}}} {unit}<extra></extra>",
        showlegend=False,
    )
    figure.add_scatter(
        x=[effect.mean],
        y=rows[-1:],
        yaxis="y2",
        xaxis="x2",
        error_x=None
        if half_width is None
        else {"type": "data", "array": [half_width], "color": colour, "thickness": 2, "width": 6},
        mode="markers",
        marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
        hovertemplate=f"mean {effect.figures}: {label}<extra></extra>",
        showlegend=False,
    )
    reach = [0.0, *effect.differences, *(effect.mean + side * (half_width or 0.0) for side in (-1, 1))]
    room = max(0.06 * (max(reach) - min(reach)), 0.02 if effect.text else 0.2)
    figure.add_shape(
        type="line",
        xref="x2",
        yref="y2 domain",
        x0=0,
        x1=0,
        y0=0,
        y1=1,
        line={"color": muted, "width": 1.5},
        layer="below",
    )
    share = (effect.mean - min(reach)) / max(max(reach) - min(reach), 1e-9)
    figure.add_annotation(
        xref="x2",
        yref="y2",
        x=effect.mean,
        y=n,
        text=f"{effect.figures}: {label}",
        showarrow=False,
        yshift=-17,
        font={"size": 12, "color": TEXT[dark]},
        xanchor="left" if share < 0.3 else "right" if share > 0.7 else "center",
    )
    axis = {"tickvals": rows, "ticktext": names, "zeroline": False, "ticklabelstandoff": 6}
    measure = "validation loss (nats)" if effect.text else "test accuracy (%)"
    signs = "less is better" if effect.text else "more is better"
    everything = [*ours, *theirs]
    beside = max(0.08 * (max(everything) - min(everything)), 0.01 if effect.text else 0.2)
    figure.update_layout(
        xaxis={
            "title": {"text": measure},
            "range": [min(everything) - beside, max(everything) + beside],
            "nticks": 6,
            "anchor": "y",
            "zeroline": False,
        },
        yaxis=axis | {"range": [n + 0.6, -0.6], "domain": [0.6, 1]},
        xaxis2={
            "title": {"text": f"teacher minus no teacher ({unit}), {signs}"},
            "range": [min(reach) - room, max(reach) + room],
            "nticks": 7,
            "anchor": "y2",
            "zeroline": False,
        },
        yaxis2=axis | {"range": [n + 1.0, -0.6], "domain": [0, 0.4], "anchor": "x2"},
        legend=ACROSS,
        margin={"r": 14},
    )
    return figure


def soft_labels(result: CompressionResult, *, dark: bool) -> go.Figure:
    """Mean probability (percent) that the teacher gives to each class on training images of a class. The diagonal is told in
    numbers, and is left out of the colours, so that what else it finds plausible shows."""
    if not result.soft_labels:
        return empty_figure("The teacher's probabilities are kept once a distillation has begun.", dark)
    every = [[100 * value for value in row["probabilities"]] for row in result.soft_labels]
    truth = [as_text(str(row["label"])) for row in result.soft_labels]
    answers = [as_text(name) for name in result.classes] or truth
    wrong = [
        [None if name == answers[place] else value for place, value in enumerate(row)]
        for name, row in zip(truth, every)
    ]
    right = [
        [value if name == answers[place] else None for place, value in enumerate(row)]
        for name, row in zip(truth, every)
    ]
    numbers = len(answers) <= MOST_NUMBERS
    figure = new_figure(dark=dark, height=max(300, 110 + ROW_PX * len(truth)), zoom=False)
    most = max((value for row in wrong for value in row if value is not None), default=1.0)
    for name, values, scale, top in (
        ("right", right, [[0, GRID[dark]], [1, GRID[dark]]], 100.0),
        ("wrong", wrong, sequential(dark), max(most, 1e-9)),
    ):
        figure.add_heatmap(
            z=values,
            x=answers,
            y=truth,
            name=name,
            colorscale=scale,
            zmin=0,
            zmax=top,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            text=[["" if value is None else _percent(value) for value in row] for row in values],
            texttemplate="%{text}" if numbers else None,
            textfont={"size": 11, "color": TEXT[dark] if name == "right" else None},
            showscale=name == "wrong" and not numbers,
            colorbar={"title": {"text": "%"}, "thickness": 10},
            hovertemplate="%{y}: the teacher gives %{x} %{z:.2f}% on average<extra></extra>",
        )
    figure.update_xaxes(
        type="category",
        title_text="mean probability (%) of",
        side="bottom",
        tickangle=-45,
        showgrid=False,
    )
    figure.update_yaxes(type="category", title_text="training images of", autorange="reversed", showgrid=False)
    figure.update_layout(margin={"t": 8})
    return figure


def _percent(value: float) -> str:
    """Short enough for a cell of 28 px."""
    return "" if value < 0.05 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
