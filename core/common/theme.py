"""One look for every figure, light and dark. Colours are Okabe and Ito's, told apart with any colour vision.

Source: Okabe & Ito, "Color Universal Design", 2008; sequential maps: cividis (Nuñez et al., doi:10.1371/journal.pone.0199239).
"""

from __future__ import annotations

import math
import re
import textwrap
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import plotly.graph_objects as go

from core.common.values import superscript

BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, YELLOW = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#56b4e9",
    "#f0e442",
)
DARK_BLUE = "#2f8fce"
CATEGORICAL = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, YELLOW)
"""Order in which series take their colours; yellow last, it is faint on white."""

FIXED = {
    "train": ORANGE,
    "validation": BLUE,
    "test": GREEN,
    "simple_cnn": ORANGE,
    "fast_resnet": BLUE,
    "resnet18": GREEN,
    "compact_transformer": PURPLE,
    "char_lstm": BLUE,
    "char_gru": GREEN,
    "char_rnn": ORANGE,
    "char_gpt": PURPLE,
    # Techniques that work alike share a colour, and differ by FIXED_DASHES.
    "l2": BLUE,
    "l1": BLUE,
    "dropout": VERMILLION,
    "spatial_dropout": VERMILLION,
    "stochastic_depth": VERMILLION,
    "augment": GREEN,
    "cutout": GREEN,
    "trivial_augment": GREEN,
    "pipeline": SKY,
    "augmix": PURPLE,
    "noise": SKY,
    "mixup": PURPLE,
    "cutmix": PURPLE,
    "label_smoothing": ORANGE,
    "batch_norm": ORANGE,
    "early_stopping": SKY,
    "ema": SKY,
    "synthetic": PURPLE,
    "synthetic_only": ORANGE,
    "more_real": BLUE,
}
"""A model, a split or a technique keeps its colour on every page."""

BASELINE_DASH = "dash"
"""Of no regularization; no technique has it."""
FIXED_DASHES = {
    "l1": "dot",
    "spatial_dropout": "dot",
    "stochastic_depth": "dashdot",
    "trivial_augment": "dot",
    "cutout": "dashdot",
    "augmix": "dashdot",
    "noise": "12px,3px",
    "cutmix": "dot",
    "batch_norm": "dot",
    "ema": "dot",
    "synthetic": "12px,3px",
    "synthetic_only": "dashdot",
    "more_real": "dashdot",
    "pipeline": "dashdot",
}
"""Of techniques whose colour another one has with a solid line."""

FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
TEXT = {False: "#060c14", True: "#e4e9ee"}
MUTED = {False: "#5b6673", True: "#9aa6b2"}
GRID = {False: "#e3e8ed", True: "#2b343e"}
PAPER = {False: "#ffffff", True: "#12171d"}

ACROSS = {"xref": "container", "x": 0, "xanchor": "left", "yref": "container", "y": 1, "yanchor": "top"}
"""A legend that may use the whole width: above the plot alone, beside long names, each entry would take a line."""
LINE_PX = 15
"""Height of a line of text."""

SEQUENTIAL_LIGHT = ((0.0, "#ffffff"), (0.25, "#c6dcec"), (0.5, "#7fb2d6"), (0.75, "#2f82bb"), (1.0, "#00446b"))
SEQUENTIAL_DARK = ((0.0, "#12171d"), (0.25, "#16394f"), (0.5, "#1b6795"), (0.75, "#4fa3d6"), (1.0, "#cfe9fb"))


def colour_of(name: str, *, dark: bool = False) -> str:
    """The colour of a model, split or arm: fixed where known, else the same one for the same name every time."""
    return for_theme(FIXED.get(name) or CATEGORICAL[zlib.crc32(name.encode()) % (len(CATEGORICAL) - 1)], dark)


def for_theme(colour: str, dark: bool) -> str:
    """The colour as it is drawn: blue is lifted on a dark page, where it would sink."""
    return DARK_BLUE if dark and colour == BLUE else colour


def with_alpha(colour: str, alpha: float) -> str:
    """`#rrggbb` as `rgba(...)`; alpha: 0..1."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def as_text(name: str) -> str:
    """A name for an axis or a hover box, where Plotly would take `<b>` and the like for markup."""
    return name.replace("&", "&amp;").replace("<", "&lt;")


def shortened(name: str, characters: int) -> str:
    """A name with an ellipsis where it is longer than that."""
    return name if len(name) <= characters else f"{name[: characters - 2]} …"


WHITE_OR_BLACK = {False: 76, True: 59}
"""Of 100: where white and black words have the same contrast on `sequential`, 4.5 at least on all of it."""


def sequential(dark: bool) -> list[list[object]]:
    """A colour scale from the page's background to one strong blue, even in lightness."""
    return [list(stop) for stop in (SEQUENTIAL_DARK if dark else SEQUENTIAL_LIGHT)]


def write_cells(
    figure: go.Figure, x: Sequence[Any], words: Sequence[Sequence[str]], values: Any, *, dark: bool
) -> None:
    """Words on the cells of a heat map of values 0..100 in `sequential` colours, in black or white by what is behind them.
    Plotly's own choice is grey on some. x: of the columns; rows are numbered."""
    figure.update_layout(
        annotations=[
            {
                "x": place,
                "y": row,
                "text": text,
                "showarrow": False,
                "font": {"size": 11, "color": TEXT[False] if (value > WHITE_OR_BLACK[dark]) == dark else "#ffffff"},
            }
            for row, (line, known) in enumerate(zip(words, values, strict=True))
            for place, text, value in zip(x, line, known, strict=True)
            if text
        ]
    )


@cache
def template(dark: bool, zoom: bool = True) -> go.layout.Template:
    """The Plotly template of the lab; transparent, so that it sits on the page it is shown on."""
    axis = {
        "gridcolor": GRID[dark],
        "linecolor": GRID[dark],
        "zerolinecolor": GRID[dark],
        "tickcolor": GRID[dark],
        "tickfont": {"color": MUTED[dark], "size": 12},
        "title": {"font": {"color": MUTED[dark], "size": 12}, "standoff": 6},
        "automargin": True,
        "fixedrange": not zoom,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": TEXT[dark]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": [for_theme(colour, dark) for colour in CATEGORICAL],
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 8, "r": 8, "t": 34, "b": 8},
            # Above the plot, so that it never covers data.
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "font": {"size": 12},
                "traceorder": "normal",
            },
            "title": {"font": {"size": 14}, "x": 0, "xref": "paper"},
            # Told outright: a unified hover box is white else, on a dark page too.
            "hoverlabel": {
                "font": {"family": FONT, "size": 12, "color": TEXT[dark]},
                "bgcolor": PAPER[dark],
                "bordercolor": GRID[dark],
            },
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED[dark], "activecolor": BLUE},
        }
    )


def new_figure(*, dark: bool, height: int = 320, zoom: bool = True) -> go.Figure:
    """An empty figure with the lab's template. height: pixels. zoom: whether its axes can be zoomed."""
    # Plotly asks an already imported pandas what a value is, and stumbles where another thread is half-way through
    # importing it. This import waits for that thread.
    import pandas  # noqa: F401

    return go.Figure(layout={"template": template(dark, zoom), "height": height})


def log_axis(values: Iterable[float | None]) -> dict[str, Any]:
    """A logarithmic axis around the positive values: a decade at least, with ticks at powers of ten, and in a short one also at 2
    and 5 times those."""
    logs = [math.log10(value) for value in values if value and value > 0] or [0.0]
    span = max(logs) - min(logs)
    room = max(0.05 * span, (1 - span) / 2)
    low, high = min(logs) - room, max(logs) + room
    every, factors = math.ceil((high - low) / 8), (1, 2, 5) if high - low <= 2 else (1,)
    powers = [power for power in range(math.floor(low), math.ceil(high) + 1) if power % every == 0]
    ticks = {
        float(f"{factor}e{power}"): (factor, power)
        for power in powers
        for factor in factors
        if low <= math.log10(factor) + power <= high
    }
    plain = all(1e-3 <= tick <= 1e3 for tick in ticks)
    texts = [
        f"{tick:g}" if plain or tick == 1 else f"{f'{factor}·' if factor > 1 else ''}10{superscript(power)}"
        for tick, (factor, power) in ticks.items()
    ]
    return {"type": "log", "range": [low, high], "tickvals": list(ticks), "ticktext": texts}


def name_rows(
    figure: go.Figure, names: Sequence[str], places: Sequence[float] | None = None, end: float = 0.0, **axis: Any
) -> None:
    """Names beside the rows of a figure, the first on top. places: their heights, on an axis from 0 to end; None: 0, 1, 2, …"""
    figure.update_yaxes(
        range=[len(names) - 0.4, -0.6] if places is None else [end, 0],
        tickvals=list(range(len(names)) if places is None else places),
        ticktext=list(names),
        zeroline=False,
        ticklabelstandoff=6,
        **{"showgrid": False} | axis,
    )


def key_on_top(figure: go.Figure, lines: Sequence[str], *, size: int = 12, top: int = 20) -> None:
    """A key in the place of the title. A legend would be no wider than the plot, and take a line for each entry."""
    figure.update_layout(
        showlegend=False,
        title={
            "text": "<br>".join(lines),
            "font": {"size": size},
            "xref": "container",
            "x": 0,
            "y": 1,
            "yanchor": "top",
            "pad": {"l": 8, "t": top},
        },
    )


def annotate(figure: go.Figure, text: str, dark: bool) -> None:
    """Words in the middle of a figure."""
    figure.add_annotation(
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        text="<br>".join(lines_of(text, 44)),
        showarrow=False,
        font={"color": MUTED[dark], "size": 12},
    )


def empty_figure(text: str, dark: bool) -> go.Figure:
    """A low figure that says why it is empty."""
    figure = new_figure(dark=dark, height=120, zoom=False)
    annotate(figure, text, dark)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def lines_of(text: str, characters: int) -> list[str]:
    """A name in lines of at most so many characters, safe for Plotly's labels; a number stays with the word before it."""
    together = re.sub(r" (?=[\d+])|(?<=\+) ", "\xa0", text)
    return [as_text(line.replace("\xa0", " ")) for line in textwrap.wrap(together, characters)] or [""]
