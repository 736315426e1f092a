"""The runs of each arm over their steps, side by side on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.regularization.analysis import ArmResult, unfinished_arm
from core.regularization.figures_curves import arm_curves, curve_bounds
from core.regularization.results import StudyResult
from pages.shared.elements import show_figure
from pages.shared.resources import dark

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PANEL_PX = 256
"""Three beside each other at 1280, one on a phone."""


def curves(result: StudyResult, rows: list[ArmResult], size: int, key: str) -> None:
    """A panel for every arm that has a measurement at this size."""
    over = {row.arm: row for row in rows}
    # In the order of the study: by verdict, panels would change places while it runs.
    found = [row for arm in result.config.parsed() if (row := over.get(arm.spec) or unfinished_arm(result, arm, size))]
    if not found:
        st.caption("Curves appear with the first measurement on this number of training images.")
        return
    st.caption(
        "Accuracy over steps, one scale for all: :orange[training] on plain images, :blue[validation], and the gap between "
        "them shaded. Thick: the mean; thin: each seed. A ring: the weights that early stopping went back to."
    )
    bounds = curve_bounds(result, size)
    with st.container(horizontal=True, gap="small"):
        for row in found:
            with st.container(width=PANEL_PX):
                show_figure(
                    _panel(key, row.label, size, _measured(result, row), bounds, dark(), _result=result, _row=row),
                    key=f"curves-{key}-{row.arm}-{size}",
                    alt=f"{row.label}: training and validation accuracy over steps, {_gap(row)}",
                )


def _measured(result: StudyResult, row: ArmResult) -> tuple[tuple[int, int, int | None], ...]:
    """What a panel depends on: how many measurements there are of each seed, and which weights count."""
    return tuple(
        (item.seed, len(item.curve.step), item.kept_step)
        for item in result.members
        if item.variant == row.variant and item.train_size == row.train_size
    )


@st.cache_resource(max_entries=128, show_spinner=False)
def _panel(
    key: str,
    label: str,
    size: int,
    measured: tuple[tuple[int, int, int | None], ...],
    bounds: tuple[float, float],
    dark: bool,
    *,
    _result: StudyResult,
    _row: ArmResult,
) -> Figure:
    """A running study draws its panels again and again, and in most of them nothing has changed."""
    return arm_curves(_result, _row, dark=dark, revision=f"{key}-{size}", bounds=bounds)


def _gap(row: ArmResult) -> str:
    if row.gap is None or row.train_mean is None:
        return "under way"
    return f"training {100 * row.train_mean:.0f}% at the end, gap {100 * row.gap:.0f} points"
