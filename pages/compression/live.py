"""The curves of the variant that a recipe is making, while it trains."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.compression.store import read_compression
from core.jobs import Run, RunStore
from core.training.figures import accuracy_curves, loss_curves, text_loss_curves
from pages.shared.elements import SAVE_AND_RESET, show_figure
from pages.shared.resources import dark, store
from pages.shared.text import escape_markdown


def measured(run: Run) -> dict[float, Any]:
    """What the table of a recipe depends on: it is drawn again at once."""
    return {0.0: tuple(item.id for item in read_compression(store(), run.id).measured)}


def live_curves(run: Run) -> None:
    """The curves of the variant that is being made, if it is one that trains."""
    if not run.active or run.status == "queued":
        return
    result = read_compression(store(), run.id)
    done = {item.id for item in result.measured}
    steps = result.config.parsed()
    making = next((variant for variant in result.config.variants() if variant.id not in done), None)
    if making is None or not steps[making.number - 1].trains:
        return
    rows = _rows(run, making.id)
    if not rows:
        st.caption("Curves appear with the first figures of the training.")
        return
    epochs = getattr(steps[making.number - 1], "epochs", None)
    drawings = [text_loss_curves] if result.task == "text" else [accuracy_curves, loss_curves]
    revision = f"{run.id}-{making.id}"
    st.caption(escape_markdown(f"Training now: {making.title}"))
    for column, draw in zip(st.columns(len(drawings), gap="medium"), drawings, strict=True):
        with column:
            show_figure(
                draw(rows, dark=dark(), revision=revision, epochs=epochs, height=240),
                key=f"live-{draw.__name__}",
                buttons=SAVE_AND_RESET,
                alt=f"Training and validation over epochs of {making.title}; {len(rows)} rows so far",
            )


def _rows(run: Run, variant: str) -> list[dict[str, Any]]:
    try:
        return RunStore(store().folder(run.id) / "members").metrics(variant)
    except LabError:
        return []  # its folder is not there yet
