"""What a recipe changed against the original: ratios of size and speed, and accuracy class by class (points)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import (
    ACROSS,
    BLUE,
    CATEGORICAL,
    GREEN,
    LINE_PX,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    TEXT,
    as_text,
    empty_figure,
    for_theme,
    key_on_top,
    lines_of,
    name_rows,
    new_figure,
    shortened,
    with_alpha,
)
from core.compression.analysis import short_name, times
from core.compression.figures_labels import log_ticks
from core.compression.results import CompressionResult, Measurement, size_ratio, speedup

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
NAME_CHARACTERS = 20
"""Of a line of a name beside a plot: a third of 390 px."""
LEGEND_PX = 19
"""Height of a line of a legend."""
LANE_PX = 17
"""Height of one ratio."""
RATIOS = (
    ("stored file", "smaller", SKY, "square", "■"),
    ("what runs", "smaller", BLUE, "diamond", "◆"),
    ("PyTorch ×1", "faster", ORANGE, "circle", "●"),
    ("ONNX ×1", "faster", GREEN, "triangle-up", "▲"),
    ("ONNX ×64", "faster", PURPLE, "triangle-down", "▼"),
    ("writing", "faster", GREEN, "triangle-up", "▲"),
)
"""Name of a ratio to the original, what it tells, colour, symbol, and the same as a character."""


def damage(result: CompressionResult, ids: Sequence[str], *, dark: bool) -> go.Figure:
    """Change of each class's accuracy in points against the original, the worst on top. ids: variants to draw."""
    first = result.first
    items = [item for item in result.variants if item.id in ids and len(item.per_class) == len(result.classes)]
    if first is None or not items or not result.classes or len(first.per_class) != len(result.classes):
        return empty_figure("Classes are compared on test images, once a variant is measured on them.", dark)
    changes = [[100 * (own - old) for own, old in zip(item.per_class, first.per_class)] for item in items]
    order = sorted(range(len(result.classes)), key=lambda place: min(change[place] for change in changes))
    names = [as_text(shortened(result.classes[place], 26)) for place in order]
    labels = [as_text(shortened(short_name(result, item), 40)) for item in items]
    apart = min(0.18, 0.7 / len(items))
    figure = new_figure(dark=dark, height=90 + LEGEND_PX * len(items) + 26 * len(order), zoom=False)
    for number, (item, change, label) in enumerate(zip(items, changes, labels)):
        colour = for_theme(CATEGORICAL[number % (len(CATEGORICAL) - 1)], dark)
        figure.add_scatter(
            x=[change[place] for place in order],
            y=[row + apart * (number - (len(items) - 1) / 2) for row in range(len(order))],
            mode="markers",
            name=label,
            marker={
                "symbol": SYMBOLS[number % len(SYMBOLS)],
                "size": 10,
                "color": colour,
                "line": {"width": 1, "color": PAPER[dark]},
            },
            customdata=[
                [name, "<br>".join(lines_of(item.title, 40)), f"{100 * item.per_class[place]:.1f}"]
                for name, place in zip(names, order)
            ],
            hovertemplate="%{customdata[0]}: %{x:+.1f} points, to %{customdata[2]}%<br>%{customdata[1]}<extra></extra>",
            cliponaxis=False,
        )
    figure.add_vline(x=0, line={"color": MUTED[dark], "width": 1.5}, layer="below")
    low, high = min(0.0, *(min(change) for change in changes)), max(0.0, *(max(change) for change in changes))
    room = max(0.06 * (high - low), 0.2)
    figure.update_xaxes(
        range=[low - room, high + room],
        title_text="change of test accuracy (points)",
        zeroline=False,
        nticks=7,
    )
    name_rows(figure, names, showgrid=True)
    figure.update_layout(legend=ACROSS, showlegend=True, margin={"r": 14})
    return figure


def ratios(result: CompressionResult, *, dark: bool) -> go.Figure:
    """How many times as small and as fast as the original each variant is, on a log axis: right of 1× is better, left worse.

    Controls and students of other seeds are left out: they are the same network as the first student.
    """
    first = result.first
    items = [item for item in result.variants if not item.control and not item.seed]
    found = [(item, known) for item in items if first and (known := _ratios_of(item, first))]
    if not found:
        return empty_figure("No variant is measured yet.", dark)
    lanes = [name for name, *_ in RATIOS if any(name in known for _, known in found)]
    names = [lines_of(short_name(result, item), NAME_CHARACTERS) for item, _ in found]
    row_px = [max(LANE_PX * len(lanes), LINE_PX * len(name)) + 14 for name in names]
    starts = [sum(row_px[:row]) for row in range(len(found))]
    figure = new_figure(dark=dark, height=66 + 2 * LEGEND_PX + sum(row_px), zoom=False)
    for name, word, colour, symbol, _ in RATIOS:
        own = [
            (start + 7 + LANE_PX * (lanes.index(name) + 0.5), item, known[name])
            for start, (item, known) in zip(starts, found)
            if name in known
        ]
        if not own:
            continue
        colour = for_theme(colour, dark)
        figure.add_scatter(
            x=[value for _, _, ratio in own for value in (1.0, ratio, None)],
            y=[value for place, _, _ in own for value in (place, place, None)],
            mode="lines",
            line={"color": with_alpha(colour, 0.55), "width": 4},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=[ratio for _, _, ratio in own],
            y=[place for place, _, _ in own],
            mode="markers+text",
            name=name,
            marker={"symbol": symbol, "size": 9, "color": colour},
            text=[f"{times(ratio)}×" for _, _, ratio in own],
            textposition=["middle right" if ratio >= 1 else "middle left" for _, _, ratio in own],
            textfont={"size": 11, "color": TEXT[dark]},
            cliponaxis=False,
            customdata=["<br>".join(lines_of(item.title, 40)) for _, item, _ in own],
            hovertemplate=f"{name}: %{{text}} {word}<br>%{{customdata}}<extra></extra>",
        )
    drawn = [ratio for _, known in found for ratio in known.values()]
    low, high = math.log10(min(*drawn, 1)), math.log10(max(*drawn, 1))
    # Room for the numbers beside the marks, on 390 px too.
    width = max(0.3, high - low)
    span = [low - (0.3 if low < 0 else 0.05) * width, high + (0.28 if high > 0 else 0.05) * width]
    values, ticks = log_ticks(10 ** span[0], 10 ** span[1])
    figure.add_vline(x=1, line={"color": MUTED[dark], "width": 1.5}, layer="below")
    for edge in starts[1:]:
        figure.add_hline(y=edge, line={"color": with_alpha(MUTED[dark], 0.35), "width": 1}, layer="below")
    figure.update_xaxes(
        type="log",
        range=span,
        tickvals=values,
        ticktext=[f"{tick}×" for tick in ticks],
        title_text="against the original (1× = as before)",
    )
    places = [start + px / 2 for start, px in zip(starts, row_px)]
    name_rows(figure, ["<br>".join(name) for name in names], places, sum(row_px), tickfont={"color": TEXT[dark]})
    key = [
        f"{word}: "
        + "&nbsp; ".join(
            f'<span style="color:{for_theme(colour, dark)}">{sign}</span> {name}'
            for name, kind, colour, _, sign in RATIOS
            if kind == word and name in lanes
        )
        for word in ("smaller", "faster")
        if any(kind == word and name in lanes for name, kind, *_ in RATIOS)
    ]
    key_on_top(figure, key)
    figure.update_layout(margin={"r": 10, "t": 20 + LEGEND_PX * len(key)})
    return figure


def _ratios_of(item: Measurement, first: Measurement) -> dict[str, float]:
    """Those that are known, by name."""
    known = {
        "stored file": size_ratio(item, first, "stored_bytes"),
        "what runs": size_ratio(item, first),
        "PyTorch ×1": item.latency_ms and speedup(item, "torch_b1"),
        "ONNX ×1": item.latency_ms and speedup(item, "onnx_b1"),
        "ONNX ×64": item.latency_ms and speedup(item, "onnx_b64"),
        "writing": speedup(item) if item.characters_per_s else None,
    }
    return {name: value for name, value in known.items() if value and math.isfinite(value) and value > 0}
