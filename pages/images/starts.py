"""What a start from ImageNet brings, as it was measured for the lab."""

from __future__ import annotations

from functools import partial
from statistics import fmean

import streamlit as st

from core.images.figures_starts import starts_figure
from core.images.starts import LEARNED, Starts, shipped_starts
from pages.shared.elements import SAVE_AND_RESET, folded, show_figure, show_table
from pages.shared.resources import dark
from pages.shared.text import escape_markdown


def starts_section() -> None:
    """Closed at first; nothing where the comparison is missing."""
    if found := shipped_starts():
        icon = ":material/rocket_launch:"
        folded(
            "What does a start from ImageNet bring?",
            partial(_starts, found),
            key="starts-box",
            param="starts",
            icon=icon,
        )


def _starts(found: Starts) -> None:
    st.markdown(f"**{starts_sentence(found)}**")
    show_figure(
        starts_figure(found, dark=dark()),
        key="starts",
        buttons=SAVE_AND_RESET,
        alt="Test accuracy over training images of a class, for three ways to start",
    )
    show_table(starts_table(found), key="starts-table")
    seeds = len({run.seed for run in found.runs})
    st.caption(
        escape_markdown(
            f"CIFAR-10, {seeds} seeds, {found.test_images:,} test images. Differences hold together with 95% probability "
            f"(Dunnett). Made by {found.made['command']} on {found.made['hardware']}, {found.made['date']}."
        )
    )


def starts_sentence(found: Starts) -> str:
    """The learned weights against the best of random ones, with the fewest and with the most images."""
    random = [name for name in found.arms if name != LEARNED]
    parts = []
    for size in (found.train_sizes[0], found.train_sizes[-1]):
        means = {arm: fmean(values) for arm in found.arms if (values := found.accuracies(arm, size).values())}
        best = max(random, key=lambda arm: means.get(arm, 0.0))
        parts.append(
            f"With {size // found.classes:,} images of a class, ImageNet's weights reach {means[LEARNED]:.0%} and the best of "
            f"random ones {means[best]:.0%}"
        )
    return ". ".join(parts) + "."


def starts_table(found: Starts) -> dict[str, list[str]]:
    """A row for each size: mean test accuracy of each start, and its difference to the baseline with the verdict."""
    columns: dict[str, list[str]] = {"Images of a class": [f"{size / found.classes:,g}" for size in found.train_sizes]}
    judged = found.verdicts()
    for arm, title in found.arms.items():
        cells = []
        for size in found.train_sizes:
            values = found.accuracies(arm, size).values()
            verdict = judged[size][arm]
            said = f", {verdict.words}" if verdict.figures else ""
            cells.append(f"{fmean(values):.1%}{said}" if values else "–")
        columns[title] = cells
    return columns
