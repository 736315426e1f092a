"""The table of runs, to choose from and to download."""

from __future__ import annotations

import zlib
from typing import Any

import streamlit as st

from core.jobs import Run
from pages.shared.run_labels import STATUS, compares, done, state_words
from pages.shared.text import VALIDATION_PLAIN, duration

FIGURES = ("best_val_accuracy", "last_val_accuracy", "best_val_loss_nats", "test_accuracy")
"""What the download holds of every run's figures."""


def row(run: Run) -> dict[str, Any]:
    """What the table and its download hold of a run, plain values."""
    return {
        "name": run.name,
        "status": STATUS[run.status][0],
        "model": run.facts.model,
        "recipe": run.facts.recipe,
        **{name: run.figure(name) for name in FIGURES},
        **run.job_kind.columns(run),
        "seconds": round(run.seconds, 1),
        "examples_per_s": run.examples_per_s,
        "created": run.created.isoformat(timespec="seconds") if run.created else None,
        "id": run.id,
    }


def runs_table(runs: list[Run]) -> list[Run]:
    """Shows the table; returns the chosen runs."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "Name": [run.name for run in runs],
            "Status": [state_words(run) for run in runs],
            "Best val.": [_percent(run.figure("best_val_accuracy")) for run in runs],
            "Last val.": [_percent(run.figure("last_val_accuracy")) for run in runs],
            "Val. loss": [run.figure("best_val_loss_nats") for run in runs],
            "Test": [_percent(run.figure("test_accuracy")) for run in runs],
            "Done": [done(run) for run in runs],
            "Time": [duration(run.seconds) for run in runs],
            "Created": [run.created for run in runs],
            "Model": [run.facts.model for run in runs],
            "Rate": [round(run.examples_per_s) if run.examples_per_s else None for run in runs],
        }
    )
    if any(map(compares, runs)):
        frame.insert(2, "What", [compares(run) or None for run in runs])
    percent = st.column_config.NumberColumn(format="%.1f%%", help=VALIDATION_PLAIN)
    test = "Measured once, at the end of the run, with the recipe's test-time augmentation."
    # A new key for another list of runs: the selection is by position, and must never slide on to another run.
    version = zlib.crc32(" ".join(run.id for run in runs).encode())
    state = st.dataframe(
        frame,
        key=f"runs-table-{version}",
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="–",
        column_config={
            "Name": st.column_config.TextColumn(width=180),
            "What": st.column_config.TextColumn(width=180, help="What it compares, or does."),
            "Best val.": percent,
            "Last val.": percent,
            "Test": st.column_config.NumberColumn(format="%.1f%%", help=f"{test} {VALIDATION_PLAIN}"),
            "Val. loss": st.column_config.NumberColumn(
                format="%.3f", help="Nats, of the best checkpoint: per image, or per character of a text."
            ),
            "Rate": st.column_config.NumberColumn(format="localized", help="Images or characters a second."),
            "Created": st.column_config.DatetimeColumn(format="distance"),
        },
        alt=f"Table of {len(runs)} runs",
    )
    return [runs[index] for index in state.selection.rows if index < len(runs)]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
