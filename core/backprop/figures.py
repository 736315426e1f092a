"""Figures of the room: gradients by layer, and the terms of one weight's gradient."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.backprop.results import Accumulation, Flow, WeightGradient
from core.common.theme import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, as_text, for_theme, log_axis, new_figure

MOST_LABELS = 14
"""With more layers only those with weights are named."""


def flow_figure(flow: Flow, *, dark: bool, chosen: str = "") -> go.Figure:
    """Gradient norm of each layer's output, from the image to the logits; ReLUs with their share of dead units. chosen: the
    layer whose weight is looked at."""
    figure = new_figure(dark=dark, height=360)
    layers = flow.layers
    places = list(range(len(layers)))
    colour = for_theme(BLUE, dark)
    relus = [place for place in places if layers[place].dead is not None]
    figure.add_scatter(
        x=places,
        y=[layer.gradient_norm or None for layer in layers],
        mode="lines+markers",
        name="gradient norm",
        line={"color": colour, "width": 2},
        marker={
            "size": [13 if layer.name == chosen else 7 for layer in layers],
            "color": [VERMILLION if layer.name == chosen else colour for layer in layers],
        },
        customdata=[(as_text(layer.name), layer.kind, "×".join(map(str, layer.shape))) for layer in layers],
        hovertemplate="%{customdata[0]}, %{customdata[1]} %{customdata[2]}<br>gradient norm %{y:.3g}<extra></extra>",
    )
    figure.add_bar(
        x=relus,
        y=[layers[place].dead for place in relus],
        yaxis="y2",
        name="dead ReLUs",
        marker={"color": for_theme(ORANGE, dark), "opacity": 0.45},
        hovertemplate="dead: %{y:.1%}<extra></extra>",
        width=0.6,
    )
    named = [
        place for place in places if len(layers) <= MOST_LABELS or layers[place].kind in ("input", "Conv2d", "Linear")
    ]
    figure.update_xaxes(tickvals=named, ticktext=[as_text(layers[place].name) for place in named], tickangle=-45)
    figure.update_layout(
        yaxis={"title": "gradient norm", **log_axis(layer.gradient_norm for layer in layers)},
        yaxis2={
            "title": "dead units",
            "overlaying": "y",
            "side": "right",
            "range": [0, 1],
            "tickmode": "array",
            "tickvals": [0, 0.5, 1],
            "tickformat": ".0%",
            "showgrid": False,
        },
        legend={"orientation": "h", "y": 1.12, "x": 0},
    )
    return figure


def terms_figure(found: WeightGradient, *, dark: bool) -> go.Figure:
    """From above × input = product, place by place; blue above zero, orange below."""
    parts = {"From above": found.from_above, "× input": found.local, "= product": found.products}
    figure = make_subplots(1, 3, subplot_titles=list(parts), horizontal_spacing=0.04)
    figure.update_layout(
        template=new_figure(dark=dark).layout.template, height=230, margin={"t": 30, "b": 10, "l": 10, "r": 10}
    )
    middle = "#181b22" if dark else "#ffffff"
    for column, values in enumerate(parts.values(), 1):
        most = float(np.abs(values).max()) or 1.0
        figure.add_heatmap(
            z=values,
            zmin=-most,
            zmax=most,
            colorscale=[[0, VERMILLION], [0.5, middle], [1, BLUE]],
            showscale=False,
            hovertemplate="row %{y}, column %{x}: %{z:.4g}<extra></extra>",
            row=1,
            col=column,
        )
        axis = figure.data[-1].xaxis or "x"
        figure.update_yaxes(
            autorange="reversed", scaleanchor=axis, constrain="domain", visible=False, row=1, col=column
        )
        figure.update_xaxes(constrain="domain", visible=False, row=1, col=column)
    return figure


def accumulation_figure(found: Accumulation, k: int, *, dark: bool) -> go.Figure:
    """How far accumulated gradients are from that of the whole batch, by the number of micro-batches; k is marked."""
    figure = new_figure(dark=dark, height=380)
    by_what = {what: [each for each in found.comparisons if each.what == what] for what in found.kinds}
    lines = [
        ("mean of means, texts", by_what["texts"], "means", VERMILLION),
        ("batch norm, images", by_what["images, batch norm"], "right", PURPLE),
        ("sum over all, texts", by_what["texts"], "right", BLUE),
        ("no batch norm, images", by_what["images"], "right", GREEN),
    ]
    for name, rows, how, colour in lines:
        figure.add_scatter(
            x=[str(each.micro_batches) for each in rows],
            y=[getattr(each, how) for each in rows],
            name=name,
            mode="lines+markers",
            line={"color": for_theme(colour, dark), "width": 2.5},
            marker={"size": [13 if each.micro_batches == k else 6 for each in rows]},
            hovertemplate="%{y:.2g}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="micro-batches", type="category")
    drawn = (getattr(each, how) for _, rows, how, _ in lines for each in rows)
    figure.update_yaxes(title="difference of the gradients", **log_axis(drawn))
    figure.update_layout(legend={"orientation": "h", "y": 1.15, "x": 0})
    return figure
