"""The figures of a run that trains a generator, and what it made of the same noise along the way."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.jobs import Run
from core.training.figures import error_curves
from core.training.sample_sheets import read_sheets
from pages.shared.elements import SAVE_AND_RESET, show_figure, show_image
from pages.shared.resources import dark, store
from pages.shared.text import escape_markdown
from pages.shared.text_run import METRIC_PX, follow_slider

SHEET_PX = 480
MEANING = "Mean squared error of the velocities, on validation images with the same noise at each evaluation."


def generator_figures(run: Run, rows: list[dict[str, Any]]) -> None:
    """Errors, their curves, and the images of each evaluation."""
    best, last, train = (run.figure(f"{name}_loss_nats") for name in ("best_val", "last_val", "last_train"))
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in (
            ("Best val. error", best, MEANING),
            ("Last val. error", last, MEANING),
            ("Train error", train, "On training images of the last steps, with new noise each time."),
        ):
            st.metric(label, "–" if value is None else f"{value:.4f}", help=meaning, width=METRIC_PX)
    if not rows:
        st.caption("Curves appear with the first figures.")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        show_figure(
            error_curves(rows, dark=dark(), revision=run.id, epochs=run.config.epochs),
            key="error-curves",
            buttons=SAVE_AND_RESET,
            alt="Squared error of the velocities over epochs",
        )
    with right:
        _sheets(run)


def _sheets(run: Run) -> None:
    sheets = read_sheets(store().folder(run.id))
    if not sheets:
        st.caption("What it makes appears here after the first evaluation, and after every one from then on.")
        return
    sheet = sheets[follow_slider("What it made after evaluation", len(sheets), "sheet") - 1]
    classes = ", ".join(sheet.classes)
    st.caption(f"Epoch {sheet.epoch:.2f}: the same noise at each evaluation; columns: {escape_markdown(classes)}.")
    show_image(
        sheet.png, width=SHEET_PX, alt=f"Images made after epoch {sheet.epoch:.2f}, a column for each of {classes}"
    )
