"""The Pareto figure of a recipe: size or speed against accuracy (percent) or loss (nats)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from core.common.theme import (
    ACROSS,
    BLUE,
    MUTED,
    PAPER,
    TEXT,
    VERMILLION,
    empty_figure,
    for_theme,
    lines_of,
    new_figure,
    with_alpha,
)
from core.compression.analysis import accuracy_words, byte_words, figures, last_ids, times
from core.compression.figures_labels import Point, label_places, log_ticks
from core.compression.recipe import ORIGINAL
from core.compression.results import (
    SUBJECTS,
    CompressionResult,
    Measurement,
    cost_of,
    loss_words,
    pareto_front,
    quality,
    size_ratio,
    speedup,
)

COSTS = {
    "stored_bytes": "stored file",
    "size_bytes": "file that runs",
    "torch_b1": "PyTorch, one image",
    "torch_b64": "PyTorch, 64 images",
    "onnx_b1": "ONNX Runtime, one image",
    "onnx_b64": "ONNX Runtime, 64 images",
}
"""Cost of a Pareto figure -> its name on the axis."""
FAR_POINTS, FAR_NATS = 10.0, 0.3
"""A variant further below the original is drawn at the bottom of the plot, with its figure, if more than FEWEST_NEAR others
are nearer. Otherwise one network that was pruned and not fine-tuned would press all others into a line."""
FEWEST_NEAR = 3
HEIGHT = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A measurement as it is drawn."""

    item: Measurement
    price: float
    """Bytes or ms."""
    x: float
    """The same in the unit of the axis."""
    y: float
    """Accuracy in percent, loss in nats."""
    low: float
    high: float
    """Ends of its 95% interval."""
    at_bottom: str = ""
    """Its true y in words, for one that is drawn at the bottom because it is too far below."""


def pareto(result: CompressionResult, cost: str, *, dark: bool) -> go.Figure:
    """What each variant costs (log axis) and how good it is, with its 95% interval; a step line joins the Pareto front.

    cost: a key of COSTS. Of text the interval is of the change.
    """
    marks = _marks(result, cost)
    if not marks:
        return empty_figure("Nothing is measured yet that this figure could show.", dark)
    text = result.task == "text"
    span, (marks, bounds) = _span([mark.x for mark in marks]), _near(marks, text)
    figure = new_figure(dark=dark, height=HEIGHT, zoom=False)
    reference = next((mark for mark in marks if mark.item.id == ORIGINAL), None)
    if reference is not None:
        dashed = {"color": MUTED[dark], "width": 1.2, "dash": "dash"}
        figure.add_vline(x=reference.x, line=dashed, layer="below")
        figure.add_hline(y=reference.y, line=dashed, layer="below")
    front, large = _front(result, marks, cost), {ORIGINAL, *last_ids(result)}
    if len(marks) > 1:
        figure.add_scatter(
            x=[*(mark.x for mark in front), 10 ** span[1]],
            y=[*(mark.y for mark in front), front[-1].y],
            mode="lines",
            name="Pareto front",
            line={"color": with_alpha(for_theme(BLUE, dark), 0.75), "width": 1.5, "shape": "hv"},
            hoverinfo="skip",
        )
    for name, colour in (("variant", for_theme(BLUE, dark)), ("no teacher", VERMILLION), ("original", TEXT[dark])):
        own = [mark for mark in marks if _kind(mark.item) == name]
        if not own:
            continue
        figure.add_scatter(
            x=[mark.x for mark in own],
            y=[mark.y for mark in own],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [mark.high - mark.y for mark in own],
                "arrayminus": [mark.y - mark.low for mark in own],
                "color": with_alpha(colour, 0.55),
                "thickness": 1.5,
                "width": 3,
            },
            mode="markers",
            name=name,
            marker={
                "symbol": [_symbol(mark) for mark in own],
                "opacity": 1,  # else it is 0.7 where sizes differ
                "size": [12 if mark.item.id in large else 8 for mark in own],
                "color": PAPER[dark] if name == "no teacher" else colour,
                "line": {"width": 2, "color": colour if name == "no teacher" else PAPER[dark]},
            },
            cliponaxis=False,
            customdata=["<br>".join(_hover_lines(mark, cost, result.first)) for mark in own],
            hovertemplate="%{customdata}<extra></extra>",
        )
    _add_labels(figure, marks, front, span, list(reversed(bounds)) if text else bounds, HEIGHT - 110, TEXT[dark])
    values, names = log_ticks(10 ** span[0], 10 ** span[1])
    unit = "ms" if cost in SUBJECTS else _unit(max(mark.price for mark in marks))[1]
    figure.update_xaxes(
        type="log",
        range=span,
        tickvals=values,
        ticktext=names,
        title_text=f"{_axis(result, cost)} ({unit})",
    )
    figure.update_yaxes(
        range=list(reversed(bounds)) if text else bounds,
        title_text="validation loss (nats)" if text else "test accuracy (%)",
        nticks=7,
    )
    figure.update_layout(legend=ACROSS, margin={"t": 34, "r": 14}, showlegend=True)
    return figure


def pareto_words(result: CompressionResult, cost: str) -> str:
    """The figure as text, for screen readers."""
    marks = sorted(_marks(result, cost), key=lambda mark: mark.x)
    if not marks:
        return "An empty figure: nothing is measured yet."
    front = {mark.item.id for mark in _front(result, marks, cost)}
    sentences = [
        f"{mark.item.title}{' (the original)' if mark.item.id == ORIGINAL else ''}: {_quality_words(mark.item)} at "
        f"{_cost_words(mark.price, cost)}{', on the Pareto front' if mark.item.id in front else ''}."
        for mark in marks
    ]
    what = "Validation loss" if result.task == "text" else "Test accuracy"
    return f"{what} against {_axis(result, cost)}, cheapest first. {' '.join(sentences)}"


def _axis(result: CompressionResult, cost: str) -> str:
    """What the cost is called: a language model has no file that runs."""
    return "weights that run" if result.task == "text" and cost == "size_bytes" else COSTS[cost]


def _marks(result: CompressionResult, cost: str) -> list[Mark]:
    """The measurements that have both coordinates."""
    text = result.task == "text"
    known = [
        (item, price, -value if text else 100 * value)
        for item in result.measured
        if (price := cost_of(item, cost, result.first)) is not None and (value := quality(item)) is not None
    ]
    scale = 1.0 if cost in SUBJECTS else _unit(max((price for _, price, _ in known), default=0.0))[0]
    found = []
    for item, price, value in known:
        low, high = _ends(item, value, result.first)
        found.append(Mark(item=item, price=price, x=price / scale, y=value, low=min(low, value), high=max(high, value)))
    return found


def _front(result: CompressionResult, marks: Sequence[Mark], cost: str) -> list[Mark]:
    """Those on the Pareto front, cheapest first."""
    ids = pareto_front(result.measured, cost)
    return sorted((mark for mark in marks if mark.item.id in ids), key=lambda mark: mark.x)


def _kind(item: Measurement) -> str:
    return "original" if item.id == ORIGINAL else "no teacher" if item.control else "variant"


def _ends(item: Measurement, value: float, first: Measurement | None) -> tuple[float, float]:
    """Ends of the interval on the y axis; the value twice where it has no interval."""
    if item.loss_nats is not None:
        if item.delta_nats_interval is not None and first is not None and first.loss_nats is not None:
            low, high = item.delta_nats_interval
            return first.loss_nats + low, first.loss_nats + high
    elif item.accuracy_interval is not None:
        low, high = item.accuracy_interval
        return 100 * low, 100 * high
    return value, value


def _unit(largest: float) -> tuple[float, str]:
    """Bytes in a unit, and its name."""
    return (1e6, "MB") if largest >= 1e6 else (1e3, "kB")


def _span(xs: Sequence[float]) -> list[float]:
    """Ends of a logarithmic axis, powers of ten, at least a factor of two apart."""
    low, high = math.log10(min(xs)), math.log10(max(xs))
    room = max(0.09 * (high - low), 0.09, (math.log10(2) - (high - low)) / 2)
    return [low - room, high + room]


def _bounds(marks: Sequence[Mark], text: bool) -> list[float]:
    low, high = min(mark.low for mark in marks), max(mark.high for mark in marks)
    room = max(0.08 * (high - low), 0.01 if text else 0.3)
    return [low - room, high + room]


def _near(marks: Sequence[Mark], text: bool) -> tuple[list[Mark], list[float]]:
    """The marks as they are drawn, and the ends of the y axis. A mark far below the others is drawn at the bottom."""
    first = next((mark.y for mark in marks if mark.item.id == ORIGINAL), None)
    lost = {mark.item.id: 0.0 if first is None else (mark.y - first if text else first - mark.y) for mark in marks}
    near = [mark for mark in marks if lost[mark.item.id] <= (FAR_NATS if text else FAR_POINTS)]
    if len(near) <= FEWEST_NEAR or len(near) == len(marks):
        return list(marks), _bounds(marks, text)
    low, high = _bounds(near, text)
    room = 0.1 * (high - low)
    bottom = high + room / 2 if text else low - room / 2
    drawn = [
        mark
        if mark in near
        else dataclasses.replace(
            mark, y=bottom, low=bottom, high=bottom, at_bottom=f"{mark.y:.2f}" if text else f"{mark.y:.0f}%"
        )
        for mark in marks
    ]
    return drawn, [low, high + room] if text else [low - room, high]


def _symbol(mark: Mark) -> str:
    return "triangle-down" if mark.at_bottom else "diamond" if mark.item.id == ORIGINAL else "circle"


def _add_labels(
    figure: go.Figure,
    marks: Sequence[Mark],
    front: Sequence[Mark],
    span: Sequence[float],
    bounds: Sequence[float],
    high: int,
    colour: str,
) -> None:
    """The number of the step beside each mark, where it covers nothing even on 390 px; controls and students of further
    seeds have none. bounds: what is at the bottom and at the top of the y axis; high: its pixels."""
    wide = 300

    def place(x: float, y: float) -> tuple[float, float]:
        """Pixels from the left and from the top."""
        share = (y - bounds[0]) / (bounds[1] - bounds[0])
        return (math.log10(x) - span[0]) / (span[1] - span[0]) * wide, (1 - share) * high

    points, lines = [], []
    for mark in marks:
        x, y = place(mark.x, mark.y)
        up, down = sorted((place(mark.x, mark.high)[1], place(mark.x, mark.low)[1]))
        label = {"original": "original", "no teacher": ""}.get(_kind(mark.item), str(mark.item.number))
        label += f" at {mark.at_bottom}" if mark.at_bottom and label else ""
        points.append(Point(x=x, y=y, label="" if mark.item.seed else label, up=y - up, down=down - y))
        if label == "original":
            lines += [(0.0, y - 1, wide, y + 1), (x - 1, 0.0, x + 1, high)]
    corners = [place(mark.x, mark.y) for mark in front]
    for (left, below), (right, above) in zip(corners, [*corners[1:], (float(wide), corners[-1][1])]):
        lines += [(left, below - 1, right, below + 1), (right - 1, min(above, below), right + 1, max(above, below))]
    for mark, point, found in zip(marks, points, label_places(points, wide, high, lines)):
        if found is not None and point.label:
            figure.add_annotation(
                x=math.log10(mark.x),
                y=mark.y,
                text=point.label,
                showarrow=False,
                xanchor="left",
                yanchor="top",
                xshift=found[0] - point.x,
                yshift=point.y - found[1],
                borderpad=0,
                font={"size": 12, "color": colour},
            )


def _hover_lines(mark: Mark, cost: str, first: Measurement | None) -> list[str]:
    """Lines of its hover box."""
    item = mark.item
    lines = [f"<b>{line}</b>" for line in lines_of(item.title, 40)]
    lines += [_quality_words(item), f"{COSTS[cost]}: {_cost_words(mark.price, cost)}"]
    if item.id != ORIGINAL and first is not None:
        ratio, word = _ratio(item, first, cost)
        lines += [f"{times(ratio)} times as {word}"] if ratio else []
        lines.append(f"change: {loss_words(item)}")
    return lines


def _ratio(item: Measurement, first: Measurement, cost: str) -> tuple[float | None, str]:
    if cost in SUBJECTS:
        return speedup(item, cost), "fast"
    return size_ratio(item, first, cost), "small"


def _quality_words(item: Measurement) -> str:
    if item.loss_nats is not None:
        return f"{item.loss_nats:.3f} nats"
    return accuracy_words(item)


def _cost_words(price: float, cost: str) -> str:
    return f"{figures(price)} ms" if cost in SUBJECTS else byte_words(price)
