"""The figures of a run that trains a language model, and what it wrote along the way."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.common.values import signed
from core.jobs import Run
from core.training.figures import text_loss_curves, train_at_evaluations
from pages.shared.elements import SAVE_AND_RESET, show_figure
from pages.shared.resources import dark, store
from pages.shared.text import NATS, show_error

METRIC_PX = 160


def text_figures(run: Run, rows: list[dict[str, Any]]) -> None:
    """Losses, their curves, and a sample of each evaluation."""
    train = (train_at_evaluations(rows, "train_loss_nats") or [None])[-1]
    validation = run.figure("last_val_loss_nats")
    gap = "–" if train is None or validation is None else signed(validation - train, 3)
    bits = None if run.figure("best_val_loss_nats") is None else run.figure("best_val_loss_nats") / math.log(2)
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in (
            (
                "Best val. (nats)",
                _nats(run.figure("best_val_loss_nats")),
                f"Loss on the last 10% of the text, all of it. {NATS}",
            ),
            (
                "In bits",
                "–" if bits is None else f"{bits:.2f}",
                "The same in bits per character: nats divided by ln 2.",
            ),
            (
                "Train (nats)",
                _nats(run.figure("last_train_loss_nats") if train is None else train),
                "Training loss, with dropout on, shortly before the last evaluation.",
            ),
            ("Gap (nats)", gap, "Validation loss of the last evaluation minus that training loss."),
        ):
            st.metric(label, value, help=meaning, width=METRIC_PX)
    if not rows:
        st.caption("Curves appear with the first figures.")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        show_figure(
            text_loss_curves(rows, dark=dark(), revision=run.id, epochs=run.config.epochs),
            key="loss-curves",
            buttons=SAVE_AND_RESET,
            alt=f"Loss over epochs; best validation {_nats(run.figure('best_val_loss_nats'))} nats",
        )
    with right:
        _samples(run)


def _samples(run: Run) -> None:
    try:
        samples = store().samples(run.id)
    except LabError as error:
        show_error(error)
        return
    if not samples:
        st.caption("What it writes appears here after the first evaluation, and after every one from then on.")
        return
    sample = samples[follow_slider("What it wrote after evaluation", len(samples), "sample") - 1]
    st.caption(f"Epoch {sample['epoch']:.2f}: 300 characters at temperature 0.8, always from the same seed.")
    with st.container(border=True, height=260):
        st.text(sample["text"])


def follow_slider(label: str, count: int, key: str) -> int:
    """Which of so many evaluations is shown, from 1: the last one, unless a person has chosen another. No slider for one."""
    if count == 1:
        return 1
    # Dragged to its end it follows the run. Said again at every look: a slider with another end is a new one.
    chosen = st.session_state.get(f"{key}-at")
    follow = chosen is None or chosen > count or st.session_state.get(f"{key}s-seen") == chosen
    st.session_state[f"{key}-at"] = count if follow else chosen
    st.session_state[f"{key}s-seen"] = count
    return int(st.slider(label, 1, count, key=f"{key}-at"))


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
