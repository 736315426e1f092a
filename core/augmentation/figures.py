"""Figures of the room: what each transform does to each class, and forecasts against what came of them."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.augmentation.forecast import LeftOut
from core.augmentation.results import Effect, EffectMap
from core.augmentation.store import Scored
from core.common.theme import (
    BLUE,
    GRID,
    MUTED,
    ORANGE,
    as_text,
    empty_figure,
    for_theme,
    key_on_top,
    lines_of,
    name_rows,
    new_figure,
    sequential,
    shortened,
    write_cells,
)
from core.common.values import signed
from core.training.augmentation import TRANSFORMS, parse_pipeline

ROW_PX, KEY_PX = 24, 18
NAME_CHARACTERS = 16
MOST_CLASSES = 20
"""Of a heat map: with more, those that fall most."""


def strongest(found: EffectMap, strength: float) -> list[Effect]:
    """The effect of each transform at a strength, or the nearest that it has."""
    return [min(item.effects, key=lambda effect: abs(effect.step.strength - strength)) for item in found.transforms]


def class_heat(found: EffectMap, strength: float, *, dark: bool) -> go.Figure:
    """Points that each class loses, by transform at one strength; the transform that costs most on top."""
    effects = sorted(strongest(found, strength), key=lambda effect: effect.affinity)
    if not effects:
        return empty_figure("No transform is measured yet.", dark)
    falls: dict[str, float] = {}
    for effect in effects:
        for item in effect.classes:
            falls[item.label] = min(falls.get(item.label, 0.0), item.points)
    labels = [label for label in found.classes if label in falls]
    if len(labels) > MOST_CLASSES:
        labels = sorted(labels, key=falls.__getitem__)[:MOST_CLASSES]
    rows = [{item.label: item for item in effect.classes} for effect in effects]
    figure = new_figure(dark=dark, height=110 + ROW_PX * len(rows), zoom=False)
    names = [as_text(shortened(label, NAME_CHARACTERS)) for label in labels]
    lost = [[max(0.0, -row[label].points) for label in labels] for row in rows]
    figure.add_heatmap(
        z=lost,
        x=names,
        y=list(range(len(rows))),
        colorscale=sequential(dark),
        zmin=0,
        zmax=100,
        xgap=1,
        ygap=1,
        customdata=[
            [
                f"{signed(row[label].points, 0)} points ({signed(row[label].low, 0)} to {signed(row[label].high, 0)})"
                for label in labels
            ]
            for row in rows
        ],
        hovertemplate="%{x}: %{customdata}<extra></extra>",
        colorbar={"title": {"text": "points lost", "side": "right"}, "thickness": 12, "tickvals": [0, 25, 50, 75, 100]},
    )
    words = [[f"{-row[label].points:.0f}" if row[label].hidden else "" for label in labels] for row in rows]
    write_cells(figure, names, words, lost, dark=dark)
    name_rows(figure, [as_text(TRANSFORMS[effect.step.transform].title) for effect in effects])
    figure.update_xaxes(tickangle=-45, showgrid=False, side="bottom")
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8})
    return figure


def outcomes(left_out: Sequence[LeftOut], found: Sequence[Scored], *, dark: bool) -> go.Figure:
    """Measured gain against what was forecast before, in points: on the line a forecast was right."""
    over = [item for item in found if item.measured is not None]
    figure = new_figure(dark=dark, height=360, zoom=False)
    values = [value for item in left_out for value in (item.forecast, item.gain)]
    values += [value for item in over for value in (item.forecast.expected, item.measured or 0.0)]
    low, high = min([*values, 0.0]) - 1, max([*values, 0.0]) + 1
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        line={"color": GRID[dark], "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=[item.forecast for item in left_out],
        y=[item.gain for item in left_out],
        mode="markers",
        name="left out",
        marker={"color": MUTED[dark], "size": 8, "symbol": "circle-open"},
        text=[_name(item.pipeline) for item in left_out],
        hovertemplate="%{text}<br>forecast %{x:+.1f}, measured %{y:+.1f} points<extra></extra>",
    )
    figure.add_scatter(
        x=[item.forecast.expected for item in over],
        y=[item.measured for item in over],
        error_y={
            "type": "data",
            "array": [item.half_width or 0.0 for item in over],
            "color": for_theme(BLUE, dark),
            "thickness": 1.5,
        },
        mode="markers",
        name="yours",
        marker={"color": for_theme(BLUE, dark), "size": 10},
        text=[_name(item.forecast.pipeline) for item in over],
        hovertemplate="%{text}<br>forecast %{x:+.1f}, measured %{y:+.1f} points<extra></extra>",
    )
    key = [f'<span style="color:{MUTED[dark]}">○</span> pipelines it had not seen']
    if over:
        key.append(f'<span style="color:{for_theme(BLUE, dark)}">●</span> your forecasts, with 95% intervals')
    if left_out:
        control = sum(item.control for item in left_out) / len(left_out)
        figure.add_vline(x=control, line={"color": ORANGE, "dash": "dot", "width": 1.5})
        key.append(f'<span style="color:{ORANGE}">┊</span> control: always the mean gain')
    key_on_top(figure, key)
    figure.update_layout(margin={"t": 20 + KEY_PX * len(key)})
    figure.update_xaxes(title_text="forecast gain, points", range=[low, high])
    figure.update_yaxes(title_text="measured gain, points", range=[low, high])
    return figure


def _name(pipeline: str) -> str:
    return "<br>".join(lines_of(parse_pipeline(pipeline).words, 40))
