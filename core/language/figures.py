"""What the units of a recurrent network hold, character by character, and how its gradients fade through time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from core.common.theme import (
    BLUE,
    CATEGORICAL,
    GRID,
    MUTED,
    ORANGE,
    as_text,
    colour_of,
    for_theme,
    new_figure,
    with_alpha,
)
from core.common.values import signed
from core.language.recurrence import Gate, Step

DIVERGING_LIGHT = ((0.0, "#00446b"), (0.25, "#3f92c6"), (0.5, "#ffffff"), (0.75, "#e08a3c"), (1.0, "#7f3500"))
DIVERGING_DARK = ((0.0, "#b5defa"), (0.25, "#2b7fb5"), (0.5, "#12171d"), (0.75, "#b5651d"), (1.0, "#ffd2a1"))
SPELLED_OUT = 120
"""Up to so many characters each has its own tick; in a longer text lines do."""
PER_ROW = 60
"""Characters beside each other that can still be told apart on a telephone."""
LINE_TICKS = 12
HEAD_PX = 44
"""Height of the colour bar and its labels."""
FLOOR = 1e-12
"""Gradients below this share are not drawn; the rounding of float32 is far above it."""
MONOSPACE = "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace"
SIGNS = {"\n": "↵", " ": "·", "\t": "→"}


def diverging(dark: bool) -> list[list[object]]:
    """A colour scale for signed values: blue below zero, orange above, zero in the page's background."""
    return [list(stop) for stop in (DIVERGING_DARK if dark else DIVERGING_LIGHT)]


def sign(character: str) -> str:
    """A character as one sign that can be seen, safe for Plotly's labels."""
    return SIGNS.get(character) or (as_text(character) if character.isprintable() else "\ufffd")


def ends(values: np.ndarray, symbol: str) -> np.ndarray:
    """Where the colours of each row end, (n,): 1 for h, which is never beyond; the row's own largest |c|, for c has no
    bounds and every unit another size. values: (n, T)."""
    if symbol == "h":
        return np.ones(len(values))
    return np.maximum(np.abs(values).max(1, initial=0).astype(np.float64), 1e-9)


def hidden_heatmap(
    states: np.ndarray,
    text: str,
    labels: Sequence[str],
    *,
    dark: bool,
    symbol: str = "h",
    tracked: tuple[str, np.ndarray] | None = None,
) -> go.Figure:
    """One row a unit, one column a character. states: (T, n); text: T characters; labels: n different names.

    symbol: what the values are, `h` or `c`. tracked: name and values (T,) 0..1 of what the units were sorted by, drawn as
    a strip above them.
    """
    rows = [as_text(label) for label in labels]
    strip = 2 if tracked else 0  # rows that it takes above the units, one of them empty
    pixels = min(16.0, max(10.0, 440 / max(1, len(rows))))
    parts = _parts(text)
    columns = max(end - start for start, end in parts)  # both halves to one scale
    inner = pixels * (len(rows) + strip)
    foot = 22 if len(text) <= SPELLED_OUT else 72  # ticks: single signs, or the beginnings of lines
    height = HEAD_PX + (inner + foot) * len(parts)
    figure = new_figure(dark=dark, height=round(height))
    places, limits = _places(text), ends(states.T, symbol)[:, None]
    for number, (start, end) in enumerate(parts):
        axis = str(number + 1) if number else ""
        shared = {"x": places[start:end], "xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        if tracked:
            figure.add_heatmap(
                **shared,
                y=[-strip],
                z=tracked[1][None, start:end],
                colorscale=[[0, GRID[dark]], [1, MUTED[dark]]],
                zmin=0,
                zmax=1,
                showscale=False,
                hovertemplate="%{y}: %{z:.2g}<br>%{x}<extra></extra>",
            )
        # Rows are numbers, not names: Plotly sorts the values of named rows, but not what customdata says of them.
        figure.add_heatmap(
            **shared,
            y=list(range(len(rows))),
            z=states[start:end].T / limits,
            customdata=states[start:end].T,
            colorscale=diverging(dark),
            zmin=-1,
            zmax=1,
            showscale=number == 0,
            colorbar=_scale("1" if symbol == "h" else "row's max", symbol),
            hovertemplate=f"unit %{{y}}<br>%{{x}}<br>{symbol} = %{{customdata:.3f}}<extra></extra>",
        )
        top = 1 - number * (inner + foot) / (height - HEAD_PX)
        axes = {"showgrid": False, "zeroline": False, "ticks": ""}
        figure.layout[f"xaxis{axis}"] = (
            axes | {"type": "category", "anchor": f"y{axis}"} | _ticks(text, start, end, columns)
        )
        figure.layout[f"yaxis{axis}"] = axes | {
            "anchor": f"x{axis}",
            "domain": [max(0.0, top - inner / (height - HEAD_PX)), top],
            "range": [len(rows) - 0.5, -strip - 0.5],
            "tickmode": "array",
            "tickvals": [*([-strip] if tracked else []), *range(len(rows))],
            "ticktext": [as_text(tracked[0]), *rows] if tracked else rows,
            "tickfont": {"size": min(11, round(pixels) - 1)},
            "ticklabelstandoff": 4,
            "fixedrange": True,
        }
    if len(text) > SPELLED_OUT:
        for start, _ in _lines(text):
            figure.add_vline(x=start - 0.5, line={"color": with_alpha(MUTED[dark], 0.45), "width": 1})
    figure.update_layout(margin={"t": 40, "b": 4}, hovermode="closest")
    return figure


def unit_over_text(values: np.ndarray, text: str, *, dark: bool, symbol: str = "h") -> go.Figure:
    """One unit, written over the text that it read: each character in the colour of the value after it. values: (T,)."""
    rows = list(_wrapped(text))
    width = max(40, *(end - start for start, end in rows))
    grid = np.full((len(rows), width), np.nan)
    signs = [[""] * width for _ in rows]
    places = np.zeros((len(rows), width), dtype=np.int32)
    for row, (start, end) in enumerate(rows):
        grid[row, : end - start] = values[start:end]
        signs[row][: end - start] = ["" if character == " " else sign(character) for character in text[start:end]]
        places[row, : end - start] = np.arange(start + 1, end + 1)
    limit = float(ends(values[None], symbol)[0])
    figure = new_figure(dark=dark, height=round(48 + 21 * len(rows)))
    figure.add_heatmap(
        z=grid / limit,
        text=signs,
        texttemplate="%{text}",
        textfont={"family": MONOSPACE, "size": 11},
        customdata=np.dstack([places, grid]),
        colorscale=diverging(dark),
        zmin=-1,
        zmax=1,
        colorbar=_scale(f"{limit:.3g}", symbol),
        hoverongaps=False,
        hovertemplate=f"%{{text}} character %{{customdata[0]:d}}<br>{symbol} = %{{customdata[1]:.3f}}<extra></extra>",
    )
    figure.update_xaxes(visible=False, fixedrange=True, range=[-0.5, width - 0.5])
    figure.update_yaxes(visible=False, fixedrange=True, range=[len(rows) - 0.5, -0.5])
    figure.update_layout(margin={"t": 40, "l": 0, "r": 8, "b": 4})
    return figure


def gradient_curves(
    curves: Mapping[str, np.ndarray],
    *,
    dark: bool,
    models: Mapping[str, str] | None = None,
    untrained: Collection[str] = (),
) -> go.Figure:
    """How much of the gradient is left k characters back, 1 at 0, on a log axis. curves: name to (K + 1,).

    models: name of each curve's architecture, which gives its colour. untrained: names of the curves to be dashed.
    """
    figure = new_figure(dark=dark, height=340)
    taken: set[tuple[str, bool]] = set()
    longest = max((len(norms) for norms in curves.values()), default=1)
    for name, norms in curves.items():
        dash = name in untrained
        wanted = (
            colour_of((models or {}).get(name, name), dark=dark),
            *(for_theme(colour, dark) for colour in CATEGORICAL),
        )
        colour = next((colour for colour in wanted if (colour, dash) not in taken), wanted[0])
        taken.add((colour, dash))
        figure.add_scatter(
            x=np.arange(len(norms)),
            y=[float(value) if value >= FLOOR else None for value in norms],
            mode="lines",
            name=as_text(name),
            line={"color": colour, "width": 2, "dash": "dash" if dash else "solid"},
            hovertemplate="%{y:.2e}",
        )
    shown = [norms[norms >= FLOOR] for norms in curves.values()]
    least = min((float(norms.min()) for norms in shown if norms.size), default=FLOOR)
    most = max((float(norms.max()) for norms in shown if norms.size), default=1.0)
    low, high = np.floor(np.log10(min(least, 0.1)) + 1e-9), np.log10(max(most, 1.0)) + 0.15
    figure.update_xaxes(
        title_text="characters back in time",
        range=[0, max(1, longest - 1)],
        fixedrange=True,
        showspikes=False,
        unifiedhovertitle_text="%{x} characters back",
    )
    figure.update_yaxes(
        type="log",
        title_text="gradient norm (1 at the last character)",
        range=[low, high],
        dtick=max(1, -(-int(high - low) // 6)),
        exponentformat="power",
        tickfont_size=10,  # which Plotly enlarges for powers
        fixedrange=True,
    )
    figure.update_layout(hovermode="x unified")
    return figure


def _scale(most: str, symbol: str) -> dict[str, object]:
    """A thin colour bar above the plot, on the right. most: what the colours end at."""
    return {
        "orientation": "h",
        "x": 1,
        "xanchor": "right",
        "y": 1,
        "yanchor": "bottom",
        "ypad": 4,
        "xpad": 8 + 3 * len(most),  # room for half of the last label
        "len": 176 + 6 * len(most),
        "lenmode": "pixels",
        "thickness": 8,
        "outlinewidth": 0,
        "ticklabelposition": "outside top",
        "tickvals": [-1, 0, 1],
        "ticktext": [f"−{most}", f"{symbol} = 0", most],
        "tickfont": {"size": 11},
    }


def _parts(text: str) -> list[tuple[int, int]]:
    """The text in one piece, or in two below each other where that lets every character be read."""
    if not PER_ROW < len(text) <= SPELLED_OUT:
        return [(0, len(text))]
    half = len(text) / 2
    cuts = [cut for cut in range(len(text) - PER_ROW, PER_ROW + 1) if text[cut - 1] in "\n "] or [PER_ROW]
    # The end of a line is worth some difference in length.
    cut = min(cuts, key=lambda cut: abs(cut - half) - (12 if text[cut - 1] == "\n" else 0))
    return [(0, cut), (cut, len(text))]


def _places(text: str) -> list[str]:
    """A different name for every character: its number, and the character among its neighbours."""
    signs = [sign(character) for character in text]
    return [
        f"{index + 1}: {''.join(signs[max(0, index - 10) : index])}<b>{here}</b>{''.join(signs[index + 1 : index + 7])}"
        for index, here in enumerate(signs)
    ]


def _ticks(text: str, start: int, end: int, columns: int) -> dict[str, object]:
    """Of the part of a text from start to end, in a plot as wide as that many columns."""
    if len(text) <= SPELLED_OUT:
        return {
            "tickmode": "array",
            "tickvals": list(range(end - start)),
            "ticktext": [sign(character) for character in text[start:end]],
            "tickangle": 0,
            "tickfont": {"family": MONOSPACE, "size": 10},
            "range": [-0.5, columns - 0.5],
            "fixedrange": True,
        }
    ticks: list[tuple[int, str]] = []
    for first, last in _lines(text):
        line = text[first:last].strip()
        near = bool(ticks) and first - ticks[-1][0] < len(text) / LINE_TICKS
        if line and not near and first < 0.94 * len(text):  # a label at the very end would need a margin
            ticks.append((first, as_text(line[:13].rstrip()) + ("…" if len(line) > 13 else "")))
    return {
        "tickmode": "array",
        "tickvals": [place for place, _ in ticks],
        "ticktext": [label for _, label in ticks],
        "tickangle": 40,
        "tickfont": {"size": 11},
    }


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Where each line starts, and where it ends, its new line included."""
    start = 0
    for line in text.split("\n"):
        end = min(len(text), start + len(line) + 1)
        if end > start:
            yield start, end
        start = end


def _wrapped(text: str) -> Iterator[tuple[int, int]]:
    """Lines as _lines gives them, those that are too long broken after a space."""
    for start, end in _lines(text):
        while end - start > PER_ROW:
            space = text.rfind(" ", start + PER_ROW // 2, start + PER_ROW)
            cut = space + 1 if space >= 0 else start + PER_ROW
            yield start, cut
            start = cut
        yield start, end


def term_bars(gate: Gate, *, dark: bool) -> go.Figure:
    """All that a gate sums up: the largest products (weight × value) on top, then the others together, and the bias."""
    bars = {
        f"{term.source}[{term.number}]: {_minus(term.weight)} × {_minus(term.value)}{' × r' if term.reset else ''}": term.product
        for term in gate.terms
    }
    bars |= ({f"and {gate.others} others": gate.rest} if gate.others else {}) | {"bias": gate.bias}
    figure = new_figure(dark=dark, height=360)
    figure.add_bar(
        x=list(bars.values()),
        y=[f"{name} = {signed(value, 2)}" for name, value in bars.items()],
        orientation="h",
        marker={"color": [ORANGE if value > 0 else for_theme(BLUE, dark) for value in bars.values()]},
        hovertemplate="%{y}<extra></extra>",
    )
    figure.update_xaxes(title=f"all bars: {signed(gate.total, 2)}, the sum in {gate.name}", nticks=5)
    figure.update_yaxes(autorange="reversed")
    return figure


def _minus(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def next_bars(step: Step, *, dark: bool) -> go.Figure:
    """The likeliest next characters, likeliest on top."""
    figure = new_figure(dark=dark, height=280)
    figure.add_bar(
        x=[share for _, share in step.next[::-1]],
        y=[sign(character) for character, _ in step.next[::-1]],
        orientation="h",
        marker={"color": for_theme(BLUE, dark)},
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )
    figure.update_xaxes(title="probability", tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(type="category")
    return figure
