"""Attribution maps over the image that they belong to, as the pixels that there are; curves and scores beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from core.attribution.evidence.scores import FAILS, PASSES, UNCLEAR
from core.common.theme import BLUE, GREEN, MUTED, PAPER, TEXT, VERMILLION, as_text, for_theme, new_figure

if TYPE_CHECKING:
    from core.attribution.evidence.curves import Curve, Faithfulness

OUTLIERS = 99.0
"""Percentile of |value| at which the colours end: a single pixel must not turn all others pale."""
OPACITY = 0.75
STOPS = 16
CONTROL_DASHES = {"random": "dot", "edges": "dash", "blob": "dashdot"}
CONTROL = "control"
KINDS = {
    PASSES: ("better than every control", GREEN, "circle"),
    UNCLEAR: ("as good as a control", BLUE, "circle-open"),
    FAILS: ("worse than a control", VERMILLION, "x"),
    CONTROL: ("control", "", "diamond"),
}
"""What the scores of many images say of a map: words, colour (of controls the muted one) and sign."""
DARK_VERMILLION, DARK_GREEN = "#f0813a", "#22c79b"


def limit(values: np.ndarray, percentile: float = OUTLIERS) -> float:
    """Where the colours of a map end: that percentile of |value|, or the largest where that is 0; 1 for a blank map."""
    size = np.abs(values)
    return float(np.percentile(size, percentile)) or float(size.max()) or 1.0


def overlay(
    values: np.ndarray,
    pixels: np.ndarray | None = None,
    *,
    signed: bool,
    dark: bool,
    opacity: float = OPACITY,
    percentile: float = OUTLIERS,
    side: int = 224,
    smooth: bool = False,
    scale: float | None = None,
    bar: tuple[str, str] | None = None,
    zoom: bool = False,
) -> go.Figure:
    """A map on its image, in grey; one square a pixel, raw values on hover.

    values: (H, W); pixels: (H, W, 3) uint8, or None for the map alone. opacity: 0 (the image alone, in its colours) to 1
    (the map alone). scale: |value| of the strongest colour, for maps that share one; None: this map's own, by percentile.
    smooth: blend between pixels, which invents detail. bar: what negative and positive values mean, for a colour bar.
    side: pixels of the screen.
    """
    top = limit(values, percentile) if scale is None else scale or 1.0
    figure = new_figure(dark=dark, height=side)
    if pixels is not None:
        figure.add_image(z=_under(pixels, opacity), hoverinfo="skip")
    colour_bar = _bar(bar, top, signed, dark) if bar else None
    if opacity > 0:
        figure.add_heatmap(
            z=values,
            zmin=-top if signed else 0.0,
            zmax=top,
            colorscale=_scale(signed, dark, opacity if pixels is not None else 1.0),
            zsmooth="best" if smooth else False,
            showscale=bar is not None,
            colorbar=colour_bar,
            hovertemplate="row %{y}, column %{x}: %{z:.3g}<extra></extra>",
        )
    height, width = values.shape
    for update, count in ((figure.update_xaxes, width), (figure.update_yaxes, height)):
        update(visible=False, fixedrange=not zoom, constrain="domain", range=[-0.5, count - 0.5])
    figure.update_yaxes(range=[height - 0.5, -0.5], scaleanchor="x")
    room = BAR_PX if bar else 0
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 0, "b": room},
        width=side,
        height=side + room,
        dragmode="zoom" if zoom else False,
    )
    return figure


BAR_PX = 60
"""Room for the colour bar with its words, below the map."""


def overlay_png(
    values: np.ndarray,
    pixels: np.ndarray,
    *,
    signed: bool,
    opacity: float = OPACITY,
    percentile: float = OUTLIERS,
    dark: bool = False,
    side: int = 448,
    smooth: bool = False,
) -> bytes:
    """The same as a PNG with hard squares (or blended, where asked). side: least length of its longer side, pixels.

    pixels: (H, W, 3) uint8; or the same image in more of them, as many for each value of the map as nearly as can be.
    """
    from PIL import Image

    from core.common.pixels import encode, enlarge

    share = np.clip(values / limit(values, percentile), -1 if signed else 0, 1)  # (H, W)
    stops = _stops(signed, dark, opacity)
    places = [place for place, _, _ in stops]
    at = (share + 1) / 2 if signed else share
    colour = np.stack([np.interp(at, places, [stop[1][channel] for stop in stops]) for channel in range(3)], -1)
    alpha = np.interp(at, places, [stop[2] for stop in stops])[..., None]
    rows, columns = (np.arange(full) * few // full for full, few in zip(pixels.shape, values.shape))
    colour, alpha = colour[rows][:, columns], alpha[rows][:, columns]
    mixed = (alpha * colour + (1 - alpha) * _under(pixels, opacity)).round().clip(0, 255).astype(np.uint8)
    if not smooth:
        return enlarge(mixed, side)
    factor = -(-side // max(mixed.shape[:2]))
    size = (mixed.shape[1] * factor, mixed.shape[0] * factor)
    return encode(Image.fromarray(mixed).resize(size, Image.Resampling.BICUBIC), "PNG")


def curves_figure(
    name: str,
    found: Faithfulness,
    controls: Mapping[str, Faithfulness],
    kind: str,
    *,
    label: str,
    dark: bool,
    height: int = 250,
) -> go.Figure:
    """One map's curve, strong, with those of the controls behind it. kind: `insertion` or `deletion`; label: the class."""
    figure = new_figure(dark=dark, height=height)
    titles = {"random": "random map", "edges": "edges", "blob": "centre blob"}
    for control, curve in controls.items():
        _line(
            figure,
            getattr(curve, kind),
            titles.get(control, control),
            MUTED[dark],
            CONTROL_DASHES.get(control, "dot"),
            1.5,
        )
    _line(figure, getattr(found, kind), as_text(name), for_theme(BLUE, dark), "solid", 3)
    figure.update_xaxes(
        title_text=f"pixels {'put back' if kind == 'insertion' else 'taken away'}, most important first (%)",
        range=[0, 100],
        fixedrange=True,
    )
    figure.update_yaxes(title_text=f"probability of {as_text(label)} (%)", range=[-2, 102], fixedrange=True)
    figure.update_layout(hovermode="x unified")
    return figure


def scores_figure(
    rows: Sequence[tuple[str, float, float, float, str]], *, dark: bool, title: str = "score (insertion − deletion)"
) -> go.Figure:
    """Means with their intervals, the first on top. rows: (title, mean, low, high, one of KINDS)."""
    figure = new_figure(dark=dark, height=70 + 24 * len(rows))
    for name, (words, light, symbol) in KINDS.items():
        kind = [row for row in rows if row[4] == name]
        colour = MUTED[dark] if name == CONTROL else for_theme(light, dark)
        if not kind:
            continue
        figure.add_scatter(
            x=[row[1] for row in kind],
            y=[as_text(row[0]) for row in kind],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [row[3] - row[1] for row in kind],
                "arrayminus": [row[1] - row[2] for row in kind],
                "color": colour,
                "thickness": 2,
                "width": 4,
            },
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": symbol},
            name=words,
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    best = max((row for row in rows if row[4] == CONTROL), key=lambda row: row[1], default=None)
    if best:
        figure.add_vline(x=best[1], line={"color": MUTED[dark], "width": 1, "dash": "dot"})
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=[as_text(row[0]) for row in rows][::-1],
        fixedrange=True,
        ticklabelstandoff=6,
    )
    figure.update_xaxes(title_text=title, fixedrange=True, zeroline=True)
    return figure


def _line(figure: go.Figure, curve: Curve, name: str, colour: str, dash: str, width: float) -> None:
    figure.add_scatter(
        x=100 * curve.shares,
        y=100 * curve.probabilities,
        name=f"{name} {curve.area:.2f}",
        mode="lines",
        line={"color": colour, "dash": dash, "width": width},
        hovertemplate="%{y:.0f}%",
    )


def _under(pixels: np.ndarray, opacity: float) -> np.ndarray:
    """The image below a map: grey, so that its colours are not taken for the map's; as it is where there is no map."""
    if opacity <= 0:
        return pixels
    grey = (pixels.astype(np.float64) @ (0.2126, 0.7152, 0.0722)).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def score_bars(score: float, controls: Mapping[str, float], *, dark: bool, width: int = 448) -> str:
    """A score and those of the controls as bars from 0 over one axis, as SVG. controls: what it is called -> its score."""
    row, bar, letter, number = 18, 12, 6.7, 38
    low = min(0.0, score, *controls.values())
    high = max(0.5, score, *controls.values())
    rows = [("this map", score), *sorted(controls.items(), key=lambda item: -item[1])]
    begin, end = letter * max(len(name) for name, _ in rows) + 8, width - number
    text, bottom = TEXT[dark], row * len(rows)

    def at(value: float) -> float:
        return begin + (value - low) / (high - low) * (end - begin)

    def words(x: float, y: float, anchor: str, what: str, colour: str = text) -> str:
        return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{colour}">{what}</text>'

    beaten = score > max(controls.values())
    parts = []
    for place, (name, value) in enumerate(rows):
        colour = MUTED[dark] if place else for_theme(GREEN if beaten else VERMILLION, dark)
        left, right = sorted((at(0), at(value)))
        top = row * place + (row - bar) / 2
        parts += [
            f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 1):.1f}" height="{bar}" fill="{colour}"/>',
            words(0, top + bar - 2, "start", name),
            words(width, top + bar - 2, "end", _number(value)),
        ]
    parts.append(f'<path d="M{at(0):.1f} 0V{bottom}" stroke="{text}"/>')
    parts.append(f'<path d="M{begin:.1f} {bottom}H{end:.1f}" stroke="{MUTED[dark]}"/>')
    for tick in (half / 2 for half in range(math.ceil(2 * low), math.floor(2 * high) + 1)):
        parts.append(f'<path d="M{at(tick):.1f} {bottom}v4" stroke="{MUTED[dark]}"/>')
        parts.append(words(at(tick), bottom + 16, "middle", _number(tick).rstrip("0").rstrip("."), MUTED[dark]))
    height = bottom + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _stops(signed: bool, dark: bool, opacity: float) -> list[tuple[float, np.ndarray, float]]:
    """Place 0..1, colour (3,) and alpha of each stop; what is near zero hides less of the image."""
    empty_figure = _rgb(PAPER[dark])
    strong = _rgb((DARK_GREEN if dark else GREEN) if not signed else for_theme(BLUE, dark))
    against = _rgb(DARK_VERMILLION if dark else VERMILLION)
    least = opacity**4
    found = []
    for place in np.linspace(0, 1, STOPS + 1):
        share = 2 * place - 1 if signed else place
        end = against if share < 0 else strong
        size = abs(share)
        found.append(
            (float(place), empty_figure + (end - empty_figure) * size**0.7, least + (opacity - least) * size**0.7)
        )
    return found


def _scale(signed: bool, dark: bool, opacity: float) -> list[list[object]]:
    return [
        [place, f"rgba({colour[0]:.0f},{colour[1]:.0f},{colour[2]:.0f},{alpha:.3f})"]
        for place, colour, alpha in _stops(signed, dark, opacity)
    ]


def _bar(words: tuple[str, str], top: float, signed: bool, dark: bool) -> dict[str, object]:
    negative, positive = map(as_text, words)
    value = f"{top:.{max(0, 1 - math.floor(math.log10(top)))}f}" if 1e-4 < top < 1e4 else f"{top:.1e}"
    end = 0.68 * top  # words at the very end would be cut off
    ticks = {-end: f"← {negative}<br>to −{value}", 0.0: "0", end: f"{positive} →<br>to {value}"}
    if not signed:
        ticks.pop(-end)
    return {
        "tickvals": list(ticks),
        "ticktext": list(ticks.values()),
        "ticklabeloverflow": "allow",
        "orientation": "h",
        "thickness": 12,
        "len": 1.0,
        "y": -0.02,
        "yanchor": "top",
        "outlinewidth": 0,
        "tickfont": {"size": 12, "color": TEXT[dark]},
    }


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float64)
