"""What heads are worth, alone and together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from core.attention.results import CHEAP_BITS, HeadReport
from core.common.theme import BLUE, GREEN, GRID, MUTED, PURPLE, TEXT, for_theme, new_figure, sequential
from core.common.values import plus_minus, signed

ROW_PX, FOOT_PX = 54, 44
DIGITS = 3
"""Of bits."""


def worth_figure(report: HeadReport, titles: dict[str, str], *, dark: bool) -> go.Figure:
    """A cell for each head: what is lost without it, and its role. titles: role -> what it is called."""
    layers = 1 + max(head.layer for head in report.heads)
    across = 1 + max(head.head for head in report.heads)
    shades: list[list[float | None]] = [[None] * across for _ in range(layers)]
    labels = [[""] * across for _ in range(layers)]
    hovers = [[""] * across for _ in range(layers)]
    for head in report.heads:
        shades[head.layer][head.head] = math.sqrt(max(0.0, head.cost_bits))
        labels[head.layer][head.head] = signed(head.cost_bits, DIGITS).lstrip("+") + (
            f"<br>{head.role}" if head.role else ""
        )
        cost = plus_minus(head.cost_bits, head.half_width, DIGITS)
        hovers[head.layer][head.head] = f"Head {head.name}: {cost} bits<br>{titles.get(head.role, 'no clear role')}"
    figure = new_figure(dark=dark, height=FOOT_PX + ROW_PX * layers, zoom=False)
    figure.add_heatmap(
        z=shades,
        text=labels,
        texttemplate="%{text}",
        customdata=hovers,
        hovertemplate="%{customdata}<extra></extra>",
        textfont={"color": TEXT[dark], "size": 12},
        # The lighter half, in which labels stay readable.
        colorscale=[[0, sequential(dark)[0][1]], [1, sequential(dark)[2][1]]],
        zmin=0,
        showscale=False,
        xgap=3,
        ygap=3,
    )
    axis = {"showgrid": False, "zeroline": False, "dtick": 1}
    figure.update_xaxes(title_text="head", **axis)
    figure.update_yaxes(title_text="layer", autorange="reversed", **axis)
    figure.update_layout(margin={"t": 4})
    return figure


def joint_figure(report: HeadReport, *, dark: bool) -> go.Figure:
    """What is lost without one, two, … of the cheapest heads, and the line below which it is little."""
    figure = new_figure(dark=dark, height=260, zoom=False)
    colour = for_theme(BLUE, dark)
    figure.add_scatter(
        x=[len(joint.heads) for joint in report.joint],
        y=[joint.cost_bits for joint in report.joint],
        error_y={"type": "data", "array": [joint.half_width for joint in report.joint], "width": 3, "thickness": 1.5},
        mode="lines+markers",
        marker={"color": colour, "size": 7},
        line_color=colour,
        customdata=[", ".join(joint.heads) for joint in report.joint],
        hovertemplate="Without %{customdata}: %{y:.3f} bits<extra></extra>",
    )
    figure.add_hline(
        y=CHEAP_BITS,
        line={"color": MUTED[dark], "dash": "dash", "width": 1.5},
        # In the margin, where no interval can lie over it.
        annotation={
            "text": f"{CHEAP_BITS:g} bits",
            "font_color": MUTED[dark],
            "x": 1,
            "xanchor": "left",
            "yanchor": "middle",
        },
    )
    figure.update_xaxes(title_text="cheapest heads removed", dtick=1)
    figure.update_yaxes(title_text="loss added (bits per character)", rangemode="tozero")
    figure.update_layout(margin={"t": 8, "r": 62}, showlegend=False)
    return figure


def distances_figure(distances: Sequence[float], same: float, *, dark: bool) -> go.Figure:
    """How far answers move under permuted attention, 0 to 1. same: up to where it is the same answer."""
    figure = new_figure(dark=dark, height=190, zoom=False)
    figure.add_histogram(
        x=list(distances),
        xbins={"start": 0, "end": 1.0001, "size": 0.05},
        marker_color=for_theme(PURPLE, dark),
        hovertemplate="%{x}: %{y} permutations<extra></extra>",
    )
    figure.add_vrect(x0=0, x1=same, fillcolor=GREEN, opacity=0.25, line_width=0)
    figure.add_annotation(
        x=same, y=1, yref="paper", text="same answer", showarrow=False, xanchor="left", xshift=4, font_color=TEXT[dark]
    )
    figure.update_xaxes(range=[0, 1], title_text="total variation distance of the answer", gridcolor=GRID[dark])
    figure.update_yaxes(title_text="permutations", rangemode="tozero")
    figure.update_layout(margin={"t": 8}, bargap=0.05, showlegend=False)
    return figure


def agreement_figure(rows: Sequence[tuple[str, float]], *, dark: bool) -> go.Figure:
    """Rank correlations, -1 to 1, as bars; the first stands out. rows: what it is of, and its value."""
    figure = new_figure(dark=dark, height=150, zoom=False)
    figure.add_bar(
        x=[value for _, value in rows],
        y=[name for name, _ in rows],
        orientation="h",
        marker_color=[for_theme(PURPLE, dark), *[MUTED[dark]] * (len(rows) - 1)],
        text=[signed(value, 2) for _, value in rows],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.update_xaxes(range=[-1, 1], title_text="rank correlation with Integrated Gradients")
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=6)
    figure.update_layout(margin={"t": 8}, bargap=0.4, showlegend=False)
    return figure
