"""Figures of sets of generated images."""

from __future__ import annotations

import plotly.graph_objects as go

from core.common.theme import colour_of, new_figure
from core.synthesis.results import ImageSet


def recognised_figure(found: ImageSet, *, dark: bool) -> go.Figure:
    """Share of generated images (percent) whose class the judge names, by class."""
    figure = new_figure(dark=dark, height=40 + 26 * len(found.classes))
    order = sorted(range(len(found.classes)), key=found.recognised_by_class.__getitem__)
    figure.add_bar(
        x=[100 * found.recognised_by_class[place] for place in order],
        y=[found.classes[place] for place in order],
        orientation="h",
        marker={"color": colour_of("validation", dark=dark)},
        hovertemplate="%{y}: %{x:.1f}%<extra></extra>",
    )
    figure.update_xaxes(title={"text": "named as intended (%)"}, range=[0, 100])
    return figure
