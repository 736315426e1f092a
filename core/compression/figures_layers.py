"""Where it went: parameters, multiply-adds and zeros of each layer, their weights before and after, and what each can lose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import (
    ACROSS,
    BASELINE_DASH,
    BLUE,
    CATEGORICAL,
    MUTED,
    TEXT,
    as_text,
    empty_figure,
    for_theme,
    name_rows,
    new_figure,
    with_alpha,
)
from core.compression.analysis import figures
from core.compression.figures_labels import spread
from core.compression.measuring.sensitivity import SensitivityRow
from core.compression.results import Layer

WHAT = {
    "parameters": "parameters",
    "macs": "multiply-adds for one input",
    "zeros": "weights that are zero (%)",
}
"""What bars can show -> its name on the axis."""
ROW_PX = 34
MOST_ROWS = 26
"""Layers with bars of their own; the smallest of a deeper network are summed."""
NAME_CHARACTERS = 18
PANEL_PX = 190
DASHES = ("solid", "dash", "dot")


Row = tuple[str, float | None, float | None]
"""Name of a layer, and its figures before and after; None where there is no such layer."""


def short_names(names: Sequence[str]) -> list[str]:
    """Names of layers for an axis, safe for Plotly: the ends of long ones, numbered where those are alike."""
    short = [name if len(name) <= NAME_CHARACTERS else f"…{name[-NAME_CHARACTERS + 1 :]}" for name in names]
    alike = {name for name in short if short.count(name) > 1}
    return [
        as_text(f"{name[: NAME_CHARACTERS - 4]} #{place + 1}" if name in alike else name)
        for place, name in enumerate(short)
    ]


def layer_bars(before: Sequence[Layer], after: Sequence[Layer], what: str, *, dark: bool) -> go.Figure:
    """A bar before and a bar after for each layer, in the order of the network. what: a key of WHAT.

    A layer that is only in one of them (split in two, folded into another) has one bar. Norms, small as they are, share one.
    """
    old, new = {layer.name: layer for layer in before}, {layer.name: layer for layer in after}
    norms = {layer.name for layer in (*before, *after) if layer.kind == "norm"}
    rows: list[Row] = [
        (name, _amount(old.get(name), what), _amount(new.get(name), what))
        for name in _together(list(old), list(new))
        if name not in norms
    ]
    if what == "parameters" and norms:
        rows.append(("norms", _of_norms(before), _of_norms(after)))
    rows = [row for row in rows if row[1] or row[2]] if what != "zeros" else rows
    if not rows or (what == "zeros" and not any(row[1] or row[2] for row in rows)):
        return empty_figure("No weight is zero." if what == "zeros" and rows else "No layer was counted.", dark)
    rows = _summed(rows) if what != "zeros" else rows
    figure = new_figure(dark=dark, height=92 + ROW_PX * len(rows), zoom=False)
    # Bars that share a place are drawn from below: before is above after on a reversed axis.
    sides = (
        ("before", [row[1] for row in rows], with_alpha(MUTED[dark], 0.6)),
        ("after", [row[2] for row in rows], for_theme(BLUE, dark)),
    )
    for name, values, colour in sides:
        figure.add_bar(
            x=values,
            y=list(range(len(rows))),
            orientation="h",
            name=name,
            marker_color=colour,
            customdata=[[as_text(row[0]), _exact(value, what)] for row, value in zip(rows, values)],
            hovertemplate=f"%{{customdata[0]}} {name}: %{{customdata[1]}}<extra></extra>",
        )
    figure.update_xaxes(
        title_text=WHAT[what],
        rangemode="tozero",
        range=[0, 101] if what == "zeros" else None,
        tickformat="" if what == "zeros" else "~s",
        nticks=6,
    )
    name_rows(figure, short_names([name for name, _, _ in rows]))
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.05, legend=ACROSS, margin={"r": 14})
    return figure


def histograms(before: Sequence[Layer], after: Sequence[Layer], names: Sequence[str], *, dark: bool) -> go.Figure:
    """How the weights of some layers are spread before and after, a panel each, counts on a log axis: zeros are a spike.

    names: of layers; one that is in neither, or has no histogram, is left out.
    """
    old, new = ({layer.name: layer for layer in layers if layer.histogram} for layers in (before, after))
    shown = [name for name in dict.fromkeys(names) if name in old or name in new]
    if not shown:
        return empty_figure("Choose a layer that has weights.", dark)
    columns = min(2, len(shown))
    lines = -(-len(shown) // columns)
    height = 60 + PANEL_PX * lines
    figure = new_figure(dark=dark, height=height, zoom=False)
    titles = short_names(shown)
    for place, name in enumerate(shown):
        row, column = divmod(place, columns)
        at = str(place + 1) if place else ""
        largest, limit = 1, 0.0
        for which, layers, colour in (("before", old, MUTED[dark]), ("after", new, for_theme(BLUE, dark))):
            layer = layers.get(name)
            if layer is None:
                continue
            span = layer.limit or 1.0
            width = 2 * span / len(layer.histogram)
            centres = [-span + width * (bin_ + 0.5) for bin_ in range(len(layer.histogram))]
            largest, limit = max(largest, *layer.histogram), max(limit, span)
            # Steps down to less than one weight stand for none: a logarithm has no zero.
            figure.add_scatter(
                x=[-span, *(edge - width / 2 for edge in centres), span, span],
                y=[0.5, *(max(count, 0.5) for count in layer.histogram), max(layer.histogram[-1], 0.5), 0.5],
                xaxis=f"x{at}",
                yaxis=f"y{at}",
                mode="lines",
                line={"color": colour, "width": 1.5, "shape": "hv"},
                fill="tozeroy" if which == "before" else None,
                fillcolor=with_alpha(colour, 0.25) if which == "before" else None,
                name=which,
                legendgroup=which,
                showlegend=not any(item.name == which for item in figure.data),
                customdata=["", *(f"{count:,}" for count in layer.histogram), "", ""],
                hovertemplate=f"{which}: %{{customdata}} weights near %{{x:.3f}}<extra></extra>",
            )
        wide = 1.0 if columns == 1 else 0.42
        left = column * (1 - wide)
        top = 1 - row / lines
        figure.update_layout(
            {
                f"xaxis{at}": {
                    "domain": [left, left + wide],
                    "anchor": f"y{at}",
                    "range": [-1.03 * limit, 1.03 * limit],
                    "nticks": 5,
                    "zeroline": False,
                    "showgrid": False,
                    "title": {"text": "weight"} if row == lines - 1 or place + columns >= len(shown) else None,
                },
                f"yaxis{at}": {
                    "domain": [top - 1 / lines + 62 / height, top - 26 / height],
                    "anchor": f"x{at}",
                    "type": "log",
                    "range": [math.log10(0.7), math.log10(largest) + 0.25],
                    "dtick": 1 if largest < 1e4 else 2,
                    "tickformat": "~s",
                    "title": {"text": "weights"} if column == 0 else None,
                },
            }
        )
        figure.add_annotation(
            xref=f"x{at} domain",
            yref=f"y{at} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
            text=titles[place],
            font={"size": 12, "color": TEXT[dark]},
        )
    figure.update_layout(legend=ACROSS, margin={"r": 10, "t": 34, "b": 0})
    return figure


def sensitivity_curves(rows: Sequence[SensitivityRow], *, dark: bool) -> go.Figure:
    """What pruning one layer alone does, a line a layer with its name at its end: accuracy (percent), or loss of text (nats),
    against the share (percent) that was taken out. A row without a layer is the network as it is: every line starts there."""
    text = all(row.accuracy is None for row in rows)
    values = [(row.layer, 100 * row.amount, _value(row, text)) for row in rows]
    start = next((value for layer, _, value in values if not layer and value is not None), None)
    lines: dict[str, list[tuple[float, float]]] = {}
    for layer, amount, value in values:
        if layer and value is not None:
            lines.setdefault(layer, [] if start is None else [(0.0, start)]).append((amount, value))
    if not lines:
        return empty_figure("Nothing was scanned yet.", dark)
    names = short_names(list(lines))
    height = max(380, 110 + 15 * len(lines))
    figure = new_figure(dark=dark, height=height, zoom=False)
    drawn = [value for points in lines.values() for _, value in points]
    room = max(0.05 * (max(drawn) - min(drawn)), 0.01 if text else 0.5)
    low, high = min(drawn) - room, max(drawn) + room
    end = max(amount for points in lines.values() for amount, _ in points)
    if start is not None:
        figure.add_hline(y=start, line={"color": MUTED[dark], "width": 1.5, "dash": BASELINE_DASH}, layer="below")
    for number, (layer, points) in enumerate(lines.items()):
        dash = DASHES[number // (len(CATEGORICAL) - 1) % len(DASHES)]  # another one once all colours were used
        ordered = sorted(dict(points).items())
        figure.add_scatter(
            x=[amount for amount, _ in ordered],
            y=[value for _, value in ordered],
            mode="lines+markers",
            name=names[number],
            line={"color": _colour(number, dark), "width": 2, "dash": dash},
            marker={"size": 6},
            cliponaxis=False,
            customdata=[as_text(layer)] * len(ordered),
            hovertemplate=f"%{{customdata}}, %{{x:.0f}}% taken out: %{{y:{'.3f' if text else '.1f'}}}"
            f"{' nats' if text else '%'}<extra></extra>",
        )
    inner = height - 80
    wanted = [(high - max(points)[1]) / (high - low) * inner for points in lines.values()]
    wanted = [inner - place for place in wanted] if text else wanted
    for number, place in enumerate(spread(wanted, 15, 4, inner - 4)):
        figure.add_annotation(
            xref="paper",
            x=1,
            xanchor="left",
            xshift=8,
            yref="paper",
            y=1 - place / inner,
            yanchor="middle",
            showarrow=False,
            text=names[number],
            font={"size": 11, "color": _colour(number, dark)},
        )
    figure.update_xaxes(title_text="taken out of this layer alone (%)", range=[0, end], nticks=6)
    figure.update_yaxes(
        title_text="validation loss (nats)" if text else "validation accuracy (%)",
        range=[high, low] if text else [low, high],
        nticks=7,
    )
    figure.update_layout(showlegend=False, margin={"r": 20 + 6.2 * max(map(len, names)), "t": 20, "b": 60, "l": 60})
    return figure


def _value(row: SensitivityRow, text: bool) -> float | None:
    if text:
        return row.loss_nats
    return None if row.accuracy is None else 100 * row.accuracy


def _colour(number: int, dark: bool) -> str:
    return for_theme(CATEGORICAL[number % (len(CATEGORICAL) - 1)], dark)


def _amount(layer: Layer | None, what: str) -> float | None:
    if layer is None:
        return None
    return 100 * layer.zeros if what == "zeros" else float(getattr(layer, what))


def _of_norms(layers: Sequence[Layer]) -> float:
    return float(sum(layer.parameters for layer in layers if layer.kind == "norm"))


def _exact(value: float | None, what: str) -> str:
    if value is None:
        return "not there"
    return f"{figures(value)}%" if what == "zeros" else f"{value:,.0f}"


def _together(old: list[str], new: list[str]) -> list[str]:
    """Names of both in the order of the network: what a layer was split into comes where it was."""
    found = list(old)
    for place, name in enumerate(new):
        if name not in found:
            before = new[place - 1] if place else ""
            parent = name.rpartition(".")[0]
            after = before if before in found else ""
            anchor = parent if parent in found and not after.startswith(f"{parent}.") else after
            found.insert(found.index(anchor) + 1 if anchor else 0, name)
    return found


def _summed(rows: list[Row]) -> list[Row]:
    """At most MOST_ROWS: the smallest layers of a deep network in one row."""
    if len(rows) <= MOST_ROWS:
        return rows
    size = {name: max(old or 0.0, new or 0.0) for name, old, new in rows}
    kept = set(sorted(size, key=lambda name: -size[name])[: MOST_ROWS - 1])
    rest = [row for row in rows if row[0] not in kept]
    total = (f"{len(rest)} smaller ones", sum(row[1] or 0.0 for row in rest), sum(row[2] or 0.0 for row in rest))
    return [*(row for row in rows if row[0] in kept), total]
