"""The table of runs, to choose from and to download."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.data import dataset_title
from core.jobs import Run
from pages.shared.copy_link import not_in_link
from pages.shared.run_controls import open_run
from pages.shared.run_labels import STATUS, compares, done, state_words
from pages.shared.text import NATS, VALIDATION_PLAIN, duration, shorten
from pages.shared.url import linked

FIGURES = ("best_val_accuracy", "last_val_accuracy", "best_val_loss_nats", "test_accuracy")
"""What the download holds of every run's figures."""

CHOSEN = "runs-chosen"
"""Ids of the runs whose rows are chosen."""
NAME_CHARACTERS = 36
"""Of a run's name, as many as its column shows."""
MOST_IN_LINK = 20
"""Runs that an address names: servers and messengers cut longer addresses."""
FOLDED = {False: ("Last val.", "Val. loss", "Rate"), True: ("Best val.", "Last val.", "Rate")}
"""Columns on demand: of runs that classify, and of language models."""


def row(run: Run) -> dict[str, Any]:
    """What the table and its download hold of a run, plain values."""
    return {
        "name": run.name,
        "status": STATUS[run.status][0],
        "dataset": run.facts.dataset,
        "model": run.facts.model,
        "recipe": run.facts.recipe,
        **{name: run.figure(name) for name in FIGURES},
        **run.job_kind.columns(run),
        "seconds": round(run.seconds, 1),
        "examples_per_s": run.examples_per_s,
        "created": run.created.isoformat(timespec="seconds") if run.created else None,
        "id": run.id,
    }


def runs_table(runs: list[Run], *, text: bool) -> list[Run]:
    """Shows the table; returns the chosen runs, which the address names. A click on a name opens that run. text: of language
    models."""
    import pandas as pd

    columns = {name: [value(run) for run in runs] for name, value in _columns(text).items()}
    frame = pd.DataFrame(
        {name: values for name, values in columns.items() if any(value is not None for value in values)}
    )
    # New keys for another list of runs: rows are told by position, which must never slide on to another run.
    version = zlib.crc32(" ".join(run.id for run in runs).encode())
    opened, key = f"runs-open-{version}", f"runs-table-{version}"
    changed = linked("runs", CHOSEN, partial(_known, [run.id for run in runs]), [], write=_write)
    if changed or (key not in st.session_state and st.session_state[CHOSEN]):
        rows = [place for place, run in enumerate(runs) if run.id in st.session_state[CHOSEN]]
        st.session_state[key] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    every = st.session_state.get("runs-columns", False)
    state = st.dataframe(
        frame,
        column_order=None if every else [name for name in frame if name not in FOLDED[text]],
        key=key,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="–",
        column_config=_config(opened),
        alt=f"Table of {len(runs)} runs",
    )
    click = st.session_state.get(opened)
    if click is not None and click.row < len(runs):
        open_run(runs[click.row])
    chosen = [runs[index] for index in state.selection.rows if index < len(runs)]
    st.session_state[CHOSEN] = [run.id for run in chosen]
    if len(chosen) > MOST_IN_LINK:
        not_in_link(f"The chosen runs are not in the link: it names {MOST_IN_LINK} at most.")
    return chosen


def _write(chosen: list[str]) -> str | None:
    return ",".join(chosen) if len(chosen) <= MOST_IN_LINK else None


def _known(ids: list[str], text: str) -> list[str]:
    """Runs that the address names. Raises LabError where none of them is in the list."""
    found = [run_id for run_id in text.split(",") if run_id in ids]
    if text and not found:
        raise LabError("The link names runs that are not in this list: choose some below.")
    return found


def _columns(text: bool) -> dict[str, Callable[[Run], Any]]:
    """Title of each column -> what it says of a run; the figure that counts stands before the others."""
    accuracy: dict[str, Callable[[Run], Any]] = {
        "Test": lambda run: _percent(run.figure("test_accuracy")),
        "Best val.": lambda run: _percent(run.figure("best_val_accuracy")),
        "Last val.": lambda run: _percent(run.figure("last_val_accuracy")),
    }
    loss: dict[str, Callable[[Run], Any]] = {"Val. loss": lambda run: run.figure("best_val_loss_nats")}
    return {
        "Name": lambda run: shorten(run.name, NAME_CHARACTERS),
        "Dataset": lambda run: dataset_title(run.facts.dataset) if run.facts.dataset else None,
        "Status": state_words,
        "What": lambda run: compares(run) or None,
        **(loss | accuracy if text else accuracy | loss),
        "Done": done,
        "Time": lambda run: duration(run.seconds),
        "Created": lambda run: run.created,
        "Model": lambda run: run.facts.model or None,
        "Rate": lambda run: round(run.examples_per_s) if run.examples_per_s else None,
    }


def _config(opened: str) -> dict[str, Any]:
    """opened: key of a click on a name."""
    percent = st.column_config.NumberColumn(format="%.1f%%", help=VALIDATION_PLAIN)
    test = "Measured once, at the end of the run, with the recipe's test-time augmentation."
    return {
        "Name": st.column_config.ButtonColumn(
            width=230, type="tertiary", alignment="left", help="Click on a name to open the run.", key=opened
        ),
        "Dataset": st.column_config.TextColumn(width=130),
        "What": st.column_config.TextColumn(width=180, help="What it compares, or does."),
        "Best val.": percent,
        "Last val.": percent,
        "Test": st.column_config.NumberColumn(format="%.1f%%", help=f"{test} {VALIDATION_PLAIN}"),
        "Val. loss": st.column_config.NumberColumn(
            format="%.3f",
            help=f"Loss of the best checkpoint on images or characters that it never trained on. {NATS}",
        ),
        "Rate": st.column_config.NumberColumn(format="localized", help="Images or characters a second."),
        "Created": st.column_config.DatetimeColumn(format="distance"),
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
