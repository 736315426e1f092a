"""What a regularization study found: learning curves side by side, effects with their intervals, strengths, classes.

All accuracies are drawn in percent, all differences of them in percentage points.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence

import plotly.graph_objects as go

from core.common.theme import (
    ACROSS,
    BASELINE_DASH,
    FIXED_DASHES,
    GREEN,
    LINE_PX,
    MUTED,
    TEXT,
    VERMILLION,
    as_text,
    colour_of,
    empty_figure,
    key_on_top,
    lines_of,
    name_rows,
    new_figure,
    with_alpha,
)
from core.common.values import signed
from core.regularization.analysis import ArmResult
from core.regularization.arms import BASELINE, parse_arm
from core.regularization.figures_curves import percent

TOGETHER_DASHES = ("longdash", "longdashdot")
"""Of techniques together; no technique alone and no baseline has them."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
"""Of lines that would look alike: two strengths of one technique as arms of their own."""
VERDICTS = {
    "helps": ("helps", GREEN, "circle", "●"),
    "noise": ("seed noise", "", "circle-open", "○"),
    "hurts": ("hurts", VERMILLION, "diamond", "◆"),
    "none": ("one seed: no verdict", "", "x-thin-open", "✕"),
}
"""Kind of a verdict -> its name, colour (empty: neutral), symbol, and the same as a character."""
LEGEND_PX = 19
"""Height of a line of a legend."""
VALUE_PX = 42
"""Width of the column of numbers beside the intervals."""
NAME_CHARACTERS = 21
"""Of a line beside an interval: a third of 390 px."""


def arm_colour(arm: str, *, dark: bool) -> str:
    """The colour of an arm (as `core.regularization.arms` writes it), whatever its strengths; the baseline is neutral."""
    names = parse_arm(arm).names
    return colour_of("+".join(names), dark=dark) if names else MUTED[dark]


def arm_dash(arm: str) -> str:
    """The dash that goes with the colour: no two techniques have both in common, nor one alone and several together."""
    names = parse_arm(arm).names
    if len(names) > 1:
        return TOGETHER_DASHES[zlib.crc32("+".join(names).encode()) // 8 % len(TOGETHER_DASHES)]
    return FIXED_DASHES.get(names[0], "solid") if names else BASELINE_DASH


def effects(rows: Sequence[ArmResult], train_size: int, *, dark: bool) -> go.Figure:
    """Every arm's effect on accuracy in points against the baseline, with its simultaneous 95% interval; first row on top.

    An arm with one seed, which has no interval, is a cross.
    """
    base = next((row for row in rows if row.arm == BASELINE and row.train_size == train_size), None)
    arms = [row for row in rows if row.arm != BASELINE and row.train_size == train_size]
    if not arms:
        return empty_figure("No technique has a finished run yet.", dark)
    names = [lines_of(row.label, NAME_CHARACTERS) for row in arms]
    # Each row is as high as its name: the y axis counts pixels.
    row_px = [max(34, 10 + LINE_PX * len(name)) for name in names]
    places = [sum(row_px[:row]) + px / 2 for row, px in enumerate(row_px)]
    figure = new_figure(dark=dark, height=max(180, 100 + sum(row_px)), zoom=False)
    ends, key = [0.0], []
    for kind, (name, strong, symbol, sign) in VERDICTS.items():
        found = [
            (place, row, effect)
            for place, row in zip(places, arms)
            if row.verdict.kind == kind and (effect := _effect(row, base)) is not None
        ]
        if not found:
            continue
        colour = strong or MUTED[dark]
        key.append(f'<span style="color:{colour}">{sign}</span> {name}')
        half_widths = [100 * (row.verdict.half_width or 0.0) for _, row, _ in found]
        ends += [effect + side * half for (_, _, effect), half in zip(found, half_widths) for side in (-1, 1)]
        figure.add_scatter(
            x=[effect for _, _, effect in found],
            y=[place for place, _, _ in found],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 10, "color": colour, "line": {"width": 2, "color": colour}},
            error_x=None
            if kind == "none"
            else {"type": "data", "array": half_widths, "color": colour, "thickness": 2, "width": 5},
            customdata=["<br>".join(_hover_lines(row)) for _, row, _ in found],
            hovertemplate="%{customdata}<extra></extra>",
        )
    for place, row in zip(places, arms):
        effect = _effect(row, base)
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            xshift=VALUE_PX,
            y=place,
            text="no verdict" if effect is None else signed(effect),
            showarrow=False,
            font={"size": 12, "color": MUTED[dark] if row.verdict.kind in ("noise", "none") else TEXT[dark]},
        )
    figure.add_vline(x=0, line={"color": MUTED[dark], "width": 1.5}, layer="below")
    room = max(0.06 * (max(ends) - min(ends)), 0.2)
    figure.update_xaxes(
        range=[min(ends) - room, max(ends) + room],
        title_text=f"{arms[0].split} accuracy against<br>no regularization (points)",
        nticks=7,
        zeroline=False,
    )
    name_rows(figure, ["<br>".join(name) for name in names], places, sum(row_px), tickfont={"color": TEXT[dark]})
    key_on_top(figure, ["&nbsp;&nbsp;&nbsp;".join(key)], size=13, top=10)
    figure.update_layout(margin={"r": VALUE_PX + 6})
    return figure


def sizes(rows: Sequence[ArmResult], shown: Sequence[str], *, dark: bool) -> go.Figure:
    """Accuracy (percent) against training-set size: the baseline and each arm of `shown`, with their 95% intervals.

    shown: arms as `core.regularization.arms` writes them; one that has no row is left out.
    """
    lines = [
        (arm, own)
        for arm in dict.fromkeys((BASELINE, *shown))
        if (own := sorted((row for row in rows if row.arm == arm and row.mean is not None), key=lambda r: r.train_size))
    ]
    if not lines:
        return empty_figure("No run has finished yet.", dark)
    names = [_name(own) for _, own in lines]
    figure = new_figure(dark=dark, height=340 + LEGEND_PX * _legend_lines(names), zoom=False)
    looks: list[tuple[str, str]] = []
    for (arm, own), name in zip(lines, names):
        colour, dash = arm_colour(arm, dark=dark), arm_dash(arm)
        symbol = SYMBOLS[looks.count((colour, dash)) % len(SYMBOLS)]
        looks.append((colour, dash))
        lone = _add_bands(figure, own, with_alpha(colour, 0.12), arm)
        figure.add_scatter(
            x=[row.train_size for row in own],
            y=[percent(row.mean) for row in own],
            error_y={"type": "data", "array": lone, "color": with_alpha(colour, 0.7), "thickness": 1.5, "width": 3}
            if any(lone)
            else None,
            mode="lines+markers",
            name=as_text(name if names.count(name) == 1 else arm),
            legendgroup=arm,
            line={"color": colour, "width": 2.5, "dash": dash},
            marker={"size": 7, "symbol": symbol},
            cliponaxis=False,
            customdata=[[as_text(row.label), _interval(row), row.seeds, row.split] for row in own],
            hovertemplate="%{customdata[0]}, %{x:,} images:<br>%{y:.1f}%%{customdata[1]} on %{customdata[3]}, "
            "seeds: %{customdata[2]}<extra></extra>",
            showlegend=True,
        )
    at = sorted({row.train_size for _, own in lines for row in own})
    split = lines[0][1][0].split
    # A quarter of an octave beside the outermost sizes; on a logarithmic axis a range is in powers of ten.
    span = [math.log10(at[0]) - 0.075, math.log10(at[-1]) + 0.075]
    figure.update_xaxes(
        type="log",
        range=span,
        tickvals=at,
        ticktext=[f"{size:,}" for size in at],
        title_text="training images",
    )
    figure.update_yaxes(title_text=f"{split} accuracy (%)", nticks=7)
    figure.update_layout(margin={"r": 18}, legend=ACROSS)
    return figure


def _effect(row: ArmResult, base: ArmResult | None) -> float | None:
    """Points against the baseline; with one seed on both sides their difference. None where they share no such seed."""
    if row.verdict.effect is not None:
        return 100 * row.verdict.effect
    if base is None or row.mean is None or base.mean is None or not row.seeds == base.seeds == row.verdict.seeds:
        return None
    return 100 * (row.mean - base.mean)


def _hover_lines(row: ArmResult) -> list[str]:
    """Lines of its hover box."""
    mean = "" if row.mean is None else f"{row.split} {100 * row.mean:.1f}%, seeds: {row.seeds}"
    gap = "" if row.gap is None else f"gap to training {signed(100 * row.gap)} points"
    return [text for text in (as_text(row.label), as_text(row.verdict.words), mean, gap) if text]


def _interval(row: ArmResult) -> str:
    return "" if row.half_width is None else f" ± {100 * row.half_width:.1f}"


def _name(own: Sequence[ArmResult]) -> str:
    """Of a line: with the strength where it is the same at every size."""
    return own[0].label if len({row.label for row in own}) == 1 else own[0].title


def _legend_lines(names: Sequence[str]) -> int:
    """Lines beyond the first that a legend takes on 390 px; its entries are as wide as the longest."""
    in_line = max(1, 330 // (45 + 7 * max(map(len, names))))
    return -(-len(names) // in_line) - 1


def _add_bands(figure: go.Figure, own: Sequence[ArmResult], colour: str, group: str) -> list[float | None]:
    """Bands between neighbouring sizes that have an interval. Returns half-widths (points) for those without neighbours."""
    lone: list[float | None] = [None] * len(own)
    for known, run in itertools.groupby(enumerate(own), key=lambda pair: pair[1].half_width is not None):
        places = [place for place, _ in run]
        if known and len(places) == 1:
            lone[places[0]] = 100 * (own[places[0]].half_width or 0.0)
        elif known:
            there = [own[place] for place in places]
            figure.add_scatter(
                x=[row.train_size for row in there + there[::-1]],
                y=[100 * ((row.mean or 0.0) + (row.half_width or 0.0)) for row in there]
                + [100 * ((row.mean or 0.0) - (row.half_width or 0.0)) for row in there[::-1]],
                mode="none",
                fill="toself",
                fillcolor=colour,
                legendgroup=group,
                showlegend=False,
                hoverinfo="skip",
            )
    return lone
