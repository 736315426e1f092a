"""What a start from ImageNet brings, as it was measured for the lab."""

from __future__ import annotations

import streamlit as st

from core.images.figures_starts import starts_figure
from core.images.starts import BASELINE, Starts, shipped_starts
from pages.shared.elements import SAVE_AND_RESET, show_figure
from pages.shared.resources import dark
from pages.shared.text import escape_markdown


def starts_section() -> None:
    """Closed at first; nothing where the comparison is missing."""
    found = shipped_starts()
    if found is None:
        return
    with st.expander("What does a start from ImageNet bring?", icon=":material/rocket_launch:"):
        st.markdown(f"**{starts_sentence(found)}**")
        show_figure(
            starts_figure(found, dark=dark()),
            key="starts",
            buttons=SAVE_AND_RESET,
            alt="Test accuracy over training images of a class, for three ways to start",
        )
        seeds = len({run.seed for run in found.runs})
        st.caption(
            escape_markdown(
                f"CIFAR-10, {seeds} seeds, {found.test_images:,} test images. Differences hold together with 95% probability "
                f"(Dunnett). Made by {found.made['command']} on {found.made['hardware']}, {found.made['date']}."
            )
        )


def starts_sentence(found: Starts) -> str:
    """The difference to the baseline at each size, with its verdict."""
    arm = next(name for name in found.arms if name != BASELINE)
    parts = []
    for size, verdicts in found.verdicts().items():
        if (verdict := verdicts.get(arm)) is not None and verdict.figures:
            parts.append(f"{verdict.figures} points at {size // found.classes:,} images of a class")
    return f"{found.arms[arm]}, against {found.arms[BASELINE]}: {'; '.join(parts)}."
