"""Figures of the room: corruptions by severity, falls, differences, and images in a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from core.common.pixels import data_url, encode
from core.common.theme import (
    BLUE,
    CATEGORICAL,
    FONT,
    MUTED,
    ORANGE,
    PAPER,
    TEXT,
    VERMILLION,
    as_text,
    for_theme,
    lines_of,
    name_rows,
    new_figure,
    sequential,
    with_alpha,
    write_cells,
)
from core.shift.catalogue import CORRUPTIONS, SEVERITIES
from core.shift.results import CLEAN, ShiftResult

ROW_PX, FALL_PX = 27, 46
FAMILIES = {"noise": CATEGORICAL[0], "blur": CATEGORICAL[1], "weather": CATEGORICAL[2], "digital": CATEGORICAL[3]}
SYMBOLS = {"noise": "circle", "blur": "square", "weather": "diamond", "digital": "triangle-up"}
REFERENCES = (("WRN-28-10 as usual", 73.46), ("WRN-40-2 with AugMix", 88.82))
"""Published mean accuracies on CIFAR-10-C, percent (RobustBench)."""
NAME_CHARACTERS = 18
WORD_CHARACTERS, MOST_LINES = 11, 2
"""Of the words below a small image, in a line."""
WORD_PX, LINE_PX = 10, 12
"""Size of these words, so small that `automobile` fits below an image on a phone."""
TILE_PX, STRIP_PX = 64, 22
"""Side of an image in a sheet, and height of one line of text below it."""


def heat_map(result: ShiftResult, checkpoint: int, *, dark: bool) -> go.Figure:
    """Accuracy in percent by corruption and severity; severity 0 is the clean image."""
    names = result.done
    clean = 100 * result.accuracy(checkpoint)
    values = 100 * result.accuracies(checkpoint, names)
    table = np.column_stack([np.full(len(names), clean), values])
    figure = new_figure(dark=dark, height=70 + ROW_PX * len(names), zoom=False)
    figure.add_heatmap(
        z=table,
        x=[0, *SEVERITIES],
        y=list(range(len(names))),
        colorscale=sequential(dark),
        zmin=0,
        zmax=100,
        showscale=False,
        xgap=1,
        ygap=1,
        customdata=[[CORRUPTIONS[name].title] * table.shape[1] for name in names],
        hovertemplate="%{customdata}, severity %{x}: %{z:.1f}%<extra></extra>",
    )
    words = [[f"{value:.0f}" for value in line] for line in table]
    write_cells(figure, (0, *SEVERITIES), words, table, dark=dark)
    name_rows(figure, [CORRUPTIONS[name].title for name in names])
    figure.update_xaxes(
        tickvals=[0, *SEVERITIES], ticktext=["clean", *map(str, SEVERITIES)], side="top", showgrid=False, zeroline=False
    )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 30, "b": 4})
    return figure


def falls(result: ShiftResult, order: Sequence[int], *, dark: bool) -> go.Figure:
    """From clean to corrupted accuracy of each checkpoint, with the interval of the latter."""
    rows = list(range(len(order)))
    figure = new_figure(dark=dark, height=96 + FALL_PX * len(order), zoom=False)
    means = [result.mean(place) for place in order]
    clean = [100 * result.clean_accuracy(place).mean for place in order]
    for row, (mean, before) in enumerate(zip(means, clean, strict=True)):
        figure.add_scatter(
            x=[100 * mean.mean, before],
            y=[row, row],
            mode="lines",
            line={"color": with_alpha(MUTED[dark], 0.5), "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
    figure.add_scatter(
        x=[100 * mean.mean for mean in means],
        y=rows,
        mode="markers",
        name="corrupted",
        marker={"color": for_theme(VERMILLION, dark), "size": 11, "symbol": "diamond"},
        error_x={
            "array": [100 * (mean.high - mean.mean) for mean in means],
            "arrayminus": [100 * (mean.mean - mean.low) for mean in means],
            "thickness": 2,
            "width": 4,
        },
        hovertemplate="corrupted: %{x:.1f}%<extra></extra>",
    )
    figure.add_scatter(
        x=clean,
        y=rows,
        mode="markers",
        name="clean",
        marker={"color": for_theme(BLUE, dark), "size": 11},
        hovertemplate="clean: %{x:.1f}%<extra></extra>",
    )
    name_rows(figure, ["<br>".join(lines_of(result.titles[place], NAME_CHARACTERS)) for place in order])
    figure.update_xaxes(title_text="accuracy, %")
    return figure


def differences(result: ShiftResult, base: int, order: Sequence[int], *, dark: bool) -> go.Figure:
    """Points that each checkpoint gains against `base`, on corrupted and on clean images, paired; intervals hold at once."""
    rows = np.arange(len(order))
    figure = new_figure(dark=dark, height=96 + FALL_PX * len(order), zoom=False)
    kinds = (
        (
            "corrupted",
            VERMILLION,
            "diamond",
            [result.difference(base, at, comparisons=len(order)) for at in order],
            -0.13,
        ),
        ("clean", BLUE, "circle", [result.clean_difference(base, at, comparisons=len(order)) for at in order], 0.13),
    )
    for name, colour, symbol, found, shift in kinds:
        figure.add_scatter(
            x=[100 * each.mean for each in found],
            y=rows + shift,
            mode="markers",
            name=name,
            marker={"color": for_theme(colour, dark), "size": 10, "symbol": symbol},
            error_x={
                "array": [100 * (each.high - each.mean) for each in found],
                "arrayminus": [100 * (each.mean - each.low) for each in found],
                "thickness": 2,
                "width": 4,
            },
            customdata=[each.points for each in found],
            hovertemplate=f"{name}: %{{customdata}} points<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": MUTED[dark], "width": 1})
    name_rows(figure, ["<br>".join(lines_of(result.titles[place], NAME_CHARACTERS)) for place in order])
    figure.update_xaxes(title_text=f"points against {as_text(result.titles[base])}", zeroline=False)
    return figure


def warnings_figure(result: ShiftResult, checkpoint: int, *, dark: bool) -> go.Figure:
    """Share wrong against share flagged, a point for each corruption and severity."""
    figure = new_figure(dark=dark, height=360, zoom=False)
    for family, colour in FAMILIES.items():
        cells = [
            (name, severity, result.cell(checkpoint, name, severity))
            for name in result.done
            if CORRUPTIONS[name].family == family
            for severity in SEVERITIES
        ]
        if not cells:
            continue
        figure.add_scatter(
            x=[100 * (1 - result.accuracy(checkpoint, name, severity)) for name, severity, _ in cells],
            y=[100 * flagged_share(result, checkpoint, name, severity) for name, severity, _ in cells],
            mode="markers",
            name=family,
            marker={"color": for_theme(colour, dark), "symbol": SYMBOLS[family], "size": 8, "opacity": 0.85},
            customdata=[f"{CORRUPTIONS[name].title}, severity {severity}" for name, severity, _ in cells],
            hovertemplate="%{customdata}: %{x:.0f}% wrong, %{y:.0f}% flagged<extra></extra>",
        )
    figure.add_scatter(
        x=[100 * (1 - result.accuracy(checkpoint))],
        y=[100 * flagged_share(result, checkpoint, CLEAN, 0)],
        mode="markers+text",
        name="clean",
        text=["clean"],
        textposition="top center",
        textfont={"color": TEXT[dark], "size": 12},
        marker={"color": TEXT[dark], "symbol": "x", "size": 10},
        hovertemplate="clean: %{x:.0f}% wrong, %{y:.0f}% flagged<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title_text="wrong answers, %", rangemode="tozero")
    figure.update_yaxes(title_text="flagged as none of these, %", rangemode="tozero")
    return figure


def flagged_share(result: ShiftResult, checkpoint: int, corruption: str, severity: int) -> float:
    """0..1."""
    from core.shift.results import unpack

    return float(unpack(result.cell(checkpoint, corruption, severity).flags).mean())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tile:
    """An image in a sheet, and the words below it."""

    pixels: np.ndarray
    """(H, W, 3) uint8."""
    words: str
    marked: bool
    """Drawn with a frame and in another colour."""
    more: str
    """What pointing at it says."""


def tile_words(label: str) -> str:
    """A class below a small image, in lines for Plotly: whole, but for one that two lines do not hold."""
    lines = lines_of(label.replace("_", " "), WORD_CHARACTERS)
    more = "…" if len(lines) > MOST_LINES else ""
    return "<br>".join(lines[:MOST_LINES]) + more


def sheet(rows: Sequence[Sequence[Tile]], names: Sequence[str], columns: Sequence[str], *, dark: bool) -> go.Figure:
    """Images in rows, each with its words. names: of the rows, which may be empty; columns: of the columns, empty for none."""
    from PIL import Image

    words = [[tile_words(tile.words) for tile in row] for row in rows]
    lines = max(text.count("<br>") for row in words for text in row)
    width, height = max(map(len, rows)), TILE_PX + STRIP_PX + LINE_PX * lines
    whole = Image.new("RGBA", (width * TILE_PX, len(rows) * height), (0, 0, 0, 0))
    frames, texts = [], []
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            small = Image.fromarray(np.ascontiguousarray(tile.pixels)).resize(
                (TILE_PX - 4,) * 2, Image.Resampling.NEAREST
            )
            whole.paste(small, (x * TILE_PX + 2, y * height + 2))
            texts.append((x, y, tile))
            if tile.marked:
                frames.append((x, y))
    share = TILE_PX / height
    figure = new_figure(dark=dark, height=(34 if columns else 8) + height * len(rows), zoom=False)
    figure.add_layout_image(
        source=data_url(encode(whole, "PNG")),
        xref="x",
        yref="y",
        x=-0.5,
        y=-0.5,
        sizex=width,
        sizey=len(rows),
        sizing="stretch",
        layer="below",
    )
    orange = for_theme(ORANGE, dark)
    frame = {"type": "rect", "line": {"color": orange, "width": 3}}
    shapes = [{"x0": x - 0.49, "x1": x + 0.49, "y0": y - 0.5, "y1": y - 0.5 + share} | frame for x, y in frames]
    figure.update_layout(shapes=shapes)
    figure.add_scatter(
        x=[x for x, _, _ in texts],
        y=[y + share / 2 for _, y, _ in texts],
        mode="markers+text",
        text=[f"<b>{words[y][x]}</b>" if tile.marked else words[y][x] for x, y, tile in texts],
        textposition="middle center",
        textfont={"size": WORD_PX, "family": FONT, "color": TEXT[dark]},
        marker={"size": 1, "color": PAPER[dark], "opacity": 0},
        customdata=[as_text(tile.more) for _, _, tile in texts],
        hovertemplate="%{customdata}<extra></extra>",
    )
    name_rows(figure, list(names), fixedrange=True)
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5], showticklabels=any(names))
    figure.update_xaxes(
        range=[-0.5, width - 0.5],
        tickvals=list(range(len(columns))),
        ticktext=list(columns),
        showticklabels=bool(columns),
        side="top",
        showgrid=False,
        zeroline=False,
    )
    figure.update_layout(margin={"l": 4, "r": 4, "t": 30 if columns else 4, "b": 4}, showlegend=False)
    return figure
