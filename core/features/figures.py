"""Figures of the room: a surrogate's tree and weights."""

from __future__ import annotations

import plotly.graph_objects as go

from core.common.theme import BLUE, FONT, ORANGE, TEXT, as_text, for_theme, name_rows, new_figure, with_alpha
from core.features.surrogate import Surrogate

LEAF_PX = 44


def tree_figure(found: Surrogate, *, dark: bool) -> go.Figure:
    """The tree from left to right: a leaf is as strong as it is sure."""
    conditions = {0: "all images"}
    parents = {0: ""}
    for place, node in enumerate(found.nodes):
        for child, sign in ((node.low, "≤"), (node.high, ">")):
            if child >= 0:
                conditions[child], parents[child] = f"{node.feature} {sign} {node.threshold:.2g}", str(place)
    labels = [
        as_text(conditions[place]) + (f"<br><b>{as_text(node.answer)}</b> {node.share:.0%}" if node.low < 0 else "")
        for place, node in enumerate(found.nodes)
    ]
    leaves = [0] * len(labels)
    for place in reversed(range(len(labels))):  # children come after their parents
        node = found.nodes[place]
        leaves[place] = 1 if node.low < 0 else leaves[node.low] + leaves[node.high]
    blue = for_theme(BLUE, dark)
    figure = new_figure(dark=dark, height=max(200, LEAF_PX * leaves[0]), zoom=False)
    figure.add_icicle(
        ids=[str(place) for place in range(len(labels))],
        labels=labels,
        parents=[parents[place] for place in range(len(labels))],
        values=leaves,
        customdata=[node.images for node in found.nodes],
        branchvalues="total",
        sort=False,
        tiling={"orientation": "h", "pad": 2},
        marker={
            "colors": [with_alpha(blue, 0.12 if node.low >= 0 else 0.15 + 0.5 * node.share) for node in found.nodes]
        },
        textfont={"color": TEXT[dark], "size": 13, "family": FONT},
        textposition="middle center",
        hovertemplate="%{label}<br>%{customdata:,} training images<extra></extra>",
        root_color="rgba(0,0,0,0)",
    )
    figure.update_layout(margin={"l": 0, "r": 0, "t": 4, "b": 4})
    return figure


def weights_figure(found: Surrogate, *, dark: bool) -> go.Figure:
    """The largest weights of each class, blue for and orange against it."""
    rows = [(label, name, weight) for label, weights in found.weights.items() for name, weight in weights]
    figure = new_figure(dark=dark, height=60 + 22 * len(rows), zoom=False)
    figure.add_bar(
        x=[weight for _, _, weight in rows],
        y=list(range(len(rows))),
        orientation="h",
        marker_color=[for_theme(BLUE, dark) if weight > 0 else ORANGE for _, _, weight in rows],
        hovertemplate="%{x:.2f}<extra></extra>",
    )
    name_rows(figure, [as_text(f"{label}: {name}") for label, name, _ in rows])
    figure.update_xaxes(title_text="weight on the standardised feature")
    return figure
