"""Figures of the room: speeds, the roofline, scaling, and two machines beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.common.theme import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    TEXT,
    VERMILLION,
    as_text,
    empty_figure,
    for_theme,
    lines_of,
    log_axis,
    name_rows,
    new_figure,
)
from core.hardware.expect import times
from core.hardware.results import HardwareResult, Ratio, Roofline, Row, by_speed
from core.hardware.setups import FORMATS, RUNTIMES, Setup

COLOURS = {"eager": ORANGE, "compile": BLUE, "onnx": GREEN}
PATTERNS = {"float32": "", "bfloat16": "/", "float16": "\\", "int8": "x"}
DASHES = {"float32": "solid", "bfloat16": "dash", "float16": "dot", "int8": "dashdot"}
KIND_COLOURS = {"conv": BLUE, "linear": VERMILLION, "norm": PURPLE, "activation": SKY, "pooling": GREEN}
KIND_SYMBOLS = {"conv": "circle", "linear": "square", "norm": "diamond", "activation": "triangle-up", "pooling": "x"}
KIND_TITLES = {"conv": "convolution"}
ROW_PX = 36
AXES = {"threads": "threads", "batch_size": "images of one call"}


def speed_bars(rows: Sequence[Row], reference: Setup, *, dark: bool) -> go.Figure:
    """Times as fast as the reference, with the range over rounds, the fastest first; cells without a speed say so below."""
    measured = by_speed(rows)
    failed = [row for row in rows if not row.measured]
    if not measured:
        return empty_figure("No cell was measured.", dark)
    figure = new_figure(dark=dark, height=90 + ROW_PX * (len(measured) + len(failed)), zoom=False)
    for runtime, title in RUNTIMES.items():
        places = [place for place, (row, _) in enumerate(measured) if row.setup.runtime == runtime]
        pairs = [measured[place] for place in places]
        if not pairs:
            continue
        figure.add_bar(
            y=places,
            x=[speed.middle for _, speed in pairs],
            orientation="h",
            name=title,
            marker={
                "color": for_theme(COLOURS[runtime], dark),
                "pattern": {
                    "shape": [PATTERNS[row.setup.precision] for row, _ in pairs],
                    "fillmode": "overlay",
                    "fgcolor": PAPER[dark],
                    "size": 9,
                    "solidity": 0.15,
                },
            },
            error_x=_range([speed for _, speed in pairs]) | {"color": TEXT[dark]},
            customdata=[[f"{row.images_per_s.middle:,.0f}", speed.words] for row, speed in pairs],
            hovertemplate=f"{title}: %{{customdata[1]}} times, %{{customdata[0]}} images/s<extra></extra>",
        )
    figure.add_vline(x=1, line={"color": MUTED[dark], "width": 1.2, "dash": "dash"})
    for place, row in enumerate(failed, start=len(measured)):
        figure.add_annotation(
            x=0, y=place, text=as_text(_short(row.reason)), showarrow=False, xanchor="left", font={"color": MUTED[dark]}
        )
    names = [_name(row.setup, reference) for row in (*(row for row, _ in measured), *failed)]
    name_rows(figure, names)
    figure.update_xaxes(title_text="times as fast as the default", rangemode="tozero", zeroline=False)
    figure.update_layout(bargap=0.35, margin={"r": 16})
    return figure


def _name(setup: Setup, reference: Setup | None = None) -> str:
    """In two lines: runtime and precision, layout and threads."""
    plain = setup.memory_format == "contiguous" or setup.work == "training"
    layout = "" if plain else f"{FORMATS[setup.memory_format]}, "
    return f"{setup.kind}<br>{layout}{setup.where}{' (default)' if setup == reference else ''}"


def _range(ratios: Sequence[Ratio]) -> dict[str, Any]:
    """Error bars from each median to the ends of its range."""
    return {
        "array": [ratio.high - ratio.middle for ratio in ratios],
        "arrayminus": [ratio.middle - ratio.low for ratio in ratios],
        "thickness": 1.5,
        "width": 4,
    }


def best_rows(rows: Sequence[Row], reference: Setup) -> list[Row]:
    """The fastest cell of each runtime and precision, or one that failed where all did; and the reference."""
    found: dict[tuple[str, str], Row] = {}
    for row in (*(row for row, _ in by_speed(rows)), *rows):
        found.setdefault((row.setup.runtime, row.setup.precision), row)
    return [row for row in rows if row.setup == reference or row in found.values()]


def _short(reason: str) -> str:
    return reason.split(":")[0].rstrip(".") if len(reason) > 34 else reason.rstrip(".")


def roofline_figure(found: Roofline, *, dark: bool) -> go.Figure:
    """Each layer by its intensity and its speed, below the roof that was measured."""
    intensities = [layer.intensity for layer in found.layers]
    speeds = [layer.gflops_per_s for layer in found.layers]
    figure = new_figure(dark=dark, height=430, zoom=False)
    ridge = found.gflops_per_s / found.gbytes_per_s
    low, high = min(*intensities, ridge) / 2, max(*intensities, ridge) * 4
    figure.add_scatter(
        x=[low, ridge, high],
        y=[found.roof(value) for value in (low, ridge, high)],
        mode="lines",
        name="roof",
        line={"color": MUTED[dark], "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    for kind, colour in KIND_COLOURS.items():
        layers = [layer for layer in found.layers if layer.kind == kind]
        if not layers:
            continue
        figure.add_scatter(
            x=[layer.intensity for layer in layers],
            y=[layer.gflops_per_s for layer in layers],
            mode="markers",
            name=KIND_TITLES.get(kind, kind),
            marker={
                "color": for_theme(colour, dark),
                "symbol": KIND_SYMBOLS[kind],
                "size": [6 + 14 * float(np.sqrt(layer.ms / max(each.ms for each in found.layers))) for layer in layers],
                "opacity": 0.85,
            },
            customdata=[
                [as_text(layer.name), f"{layer.ms:.2f}", f"{100 * found.share(layer):.0f}"] for layer in layers
            ],
            hovertemplate="%{customdata[0]}: %{y:.3g} GFLOP/s, %{customdata[1]} ms, %{customdata[2]}% of the roof"
            "<extra></extra>",
        )
    middle = (low * ridge) ** 0.5
    for x, text, side in (
        (high, f"{found.gflops_per_s:.0f} GFLOP/s", {"xanchor": "right", "yshift": 12}),
        (middle, f"{found.gbytes_per_s:.1f} GB/s", {"xanchor": "right", "xshift": -8, "yshift": 8}),
    ):
        place = {"x": float(np.log10(x)), "y": float(np.log10(found.roof(x)))}
        font = {"color": MUTED[dark], "size": 12}
        figure.add_annotation(**place, **side, text=text, showarrow=False, font=font)
    figure.update_xaxes(title_text="FLOP for each byte", **log_axis([low, high]))
    figure.update_yaxes(title_text="GFLOP/s", **log_axis([*speeds, found.gflops_per_s, found.roof(low)]))
    return figure


def scaling_figure(result: HardwareResult, work: str, axis: str, *, dark: bool) -> go.Figure:
    """Images per second over threads or batch size, a line for each runtime and precision. axis: a key of AXES."""
    figure = new_figure(dark=dark, height=340, zoom=False)
    shown: list[float] = []
    for (runtime, precision, name), points in scaling_lines(result, work, axis).items():
        shown += [value for _, value in points]
        figure.add_scatter(
            x=[place for place, _ in points],
            y=[value for _, value in points],
            mode="lines+markers",
            name=name,
            line={"color": for_theme(COLOURS[runtime], dark), "dash": DASHES[precision], "width": 2},
            hovertemplate=f"{as_text(name)}, %{{x}}: %{{y:,.0f}} images/s<extra></extra>",
        )
    if not shown:
        return empty_figure(f"The grid has one number of {AXES[axis]}.", dark)
    ticks = sorted({getattr(row.setup, axis) for row in result.measured if row.setup.work == work})
    figure.update_xaxes(title_text=AXES[axis], type="log", tickvals=ticks, ticktext=list(map(str, ticks)))
    figure.update_yaxes(title_text="images/s", rangemode="tozero")
    return figure


def scaling_lines(result: HardwareResult, work: str, axis: str) -> dict[tuple[str, str, str], list[tuple[int, float]]]:
    """(runtime, precision, name) -> points along an axis, by the fastest layout; at most threads and the largest batch elsewhere.
    Only lines of two points or more."""
    other = "batch_size" if axis == "threads" else "threads"
    rows = [row for row in result.measured if row.setup.work == work and row.setup.on_cpu]
    fixed = max((getattr(row.setup, other) for row in rows), default=0)
    lines: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in rows:
        setup = row.setup
        if getattr(setup, other) != fixed:
            continue
        line = lines.setdefault((setup.runtime, setup.precision, setup.kind), {})
        place = getattr(setup, axis)
        line[place] = max(line.get(place, 0.0), row.images_per_s.middle)
    return {key: sorted(points.items()) for key, points in lines.items() if len(points) > 1}


def machines_figure(pairs: Sequence[tuple[Row, Row]], names: tuple[str, str], *, dark: bool) -> go.Figure:
    """Images per second of the same cells on two machines."""
    figure = new_figure(dark=dark, height=110 + ROW_PX * len(pairs), zoom=False)
    rows = list(range(len(pairs)))
    for side, (name, colour, symbol) in enumerate(zip(names, (BLUE, VERMILLION), ("circle", "diamond"), strict=True)):
        speeds = [pair[side].images_per_s for pair in pairs]
        figure.add_scatter(
            x=[speed.middle for speed in speeds],
            y=rows,
            mode="markers",
            name="<br>".join(lines_of(name, 40)),
            marker={"color": for_theme(colour, dark), "symbol": symbol, "size": 11},
            error_x=_range(speeds),
            hovertemplate=f"{as_text(name)}: %{{x:,.0f}} images/s<extra></extra>",
        )
    values = [value for pair in pairs for row in pair for value in (row.images_per_s.low, row.images_per_s.high)]
    name_rows(figure, [_name(first.setup) for first, _ in pairs])
    figure.update_xaxes(title_text="images/s", **log_axis(values))
    return figure


def speed_alt(rows: Sequence[Row]) -> str:
    """The bars in words."""
    return "; ".join(f"{row.setup.words} {times(speed.middle)} times" for row, speed in by_speed(rows))
