"""The Runs page: a table to choose from, and what can be done with what was chosen."""

from __future__ import annotations

import io
import json
import zlib
from typing import Any

import streamlit as st

from core.errors import LabError
from core.plots.runs import METRICS, X_AXES, overlay
from core.runs import Run
from pages.components.job_words import STATUS, state_words
from pages.components.resources import dark, runs_now, store
from pages.components.runs_actions import actions
from pages.components.text import VALIDATION_PLAIN, duration, plain, show_error


def runs_view() -> None:
    """The whole of the page."""
    try:
        runs = runs_now()
    except LabError as error:
        show_error(error)
        return
    if not runs:
        st.info("Nothing was trained here yet. A run appears in this table as soon as it is started.")
        st.page_link(
            "learn/images.py",
            label="Train a network",
            icon=":material/model_training:",
            query_params={"view": "Train"},
        )
        return
    busy = any(run.active for run in runs)
    chosen = [run for run in _table(runs) if run]
    with st.container(horizontal=True, gap="small"):
        if chosen:
            actions(chosen)
        st.download_button(
            "Table (CSV)", _csv(map(row, runs)), "runs.csv", "text/csv", key="table-csv", icon=":material/download:"
        )
    problem = st.session_state.pop("runs-problem", None)
    if problem:
        show_error(problem)
    if chosen:
        _compare(chosen)
    else:
        st.caption("Select rows to see their curves and differences, and to rename, resume, stop or delete them.")
    if busy:
        st.fragment(_refresh, run_every=5.0)([state_words(run) for run in runs])


def _refresh(before: list[str]) -> None:
    """Draw the page again when a run changed its state; figures alone are not worth losing a scroll position."""
    try:
        if [state_words(run) for run in runs_now()] != before:
            st.rerun()
    except LabError:
        return


def row(run: Run) -> dict[str, Any]:
    """What the table and its download hold of a run, plain values."""
    return {
        "name": run.name,
        "status": STATUS[run.status][0],
        "model": run.config.model,
        "recipe": run.config.recipe,
        "best_val_accuracy": run.best_val_accuracy,
        "last_val_accuracy": run.last_val_accuracy,
        "val_tta": "none",
        "test_accuracy": run.test_accuracy,
        "test_tta": run.config.tta,
        "epoch": round(run.epoch, 3),
        "seconds": round(run.seconds, 1),
        "images_per_s": run.images_per_s,
        "seed": run.config.seed,
        "created": run.created.isoformat(timespec="seconds") if run.created else None,
        "id": run.id,
    }


def _table(runs: list[Run]) -> list[Run]:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "Name": [run.name for run in runs],
            "Status": [state_words(run) for run in runs],
            "Model": [run.config.model for run in runs],
            "Best validation": [_percent(run.best_val_accuracy) for run in runs],
            "Last validation": [_percent(run.last_val_accuracy) for run in runs],
            "Test": [_percent(run.test_accuracy) for run in runs],
            "Epoch": [f"{run.epoch:.3g} of {run.config.epochs:g}" for run in runs],
            "Time": [duration(run.seconds) for run in runs],
            "Images/s": [round(run.images_per_s) if run.images_per_s else None for run in runs],
            "Created": [run.created for run in runs],
        }
    )
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
        column_config={
            "Best validation": percent,
            "Last validation": percent,
            "Test": st.column_config.NumberColumn(format="%.1f%%", help=f"{test} {VALIDATION_PLAIN}"),
            "Images/s": st.column_config.NumberColumn(format="localized"),
            "Created": st.column_config.DatetimeColumn(format="distance"),
        },
        alt=f"Table of {len(runs)} runs",
    )
    return [runs[index] for index in state.selection.rows if index < len(runs)]


def _compare(chosen: list[Run]) -> None:
    rows = {run.id: store().metrics(run.id) for run in chosen}
    names = unique_names(chosen)
    left, right = st.columns(2)
    metric = left.selectbox("Curve", list(METRICS), format_func=lambda key: METRICS[key][0].capitalize(), key="metric")
    against = right.selectbox("Against", list(X_AXES), format_func=lambda key: X_AXES[key].capitalize(), key="against")
    if any(row["kind"] == "eval" for found in rows.values() for row in found):
        figure = overlay({names[run.id]: rows[run.id] for run in chosen}, metric=metric, against=against, dark=dark())
        st.plotly_chart(
            figure,
            theme=None,
            key="overlay",
            config={"displaylogo": False},
            alt=f"{METRICS[metric][0]} of {len(chosen)} runs against {X_AXES[against]}",
        )
        st.download_button(
            "Curves (CSV)",
            _csv({"run": run.id, "name": run.name} | row for run in chosen for row in rows[run.id]),
            "curves.csv",
            "text/csv",
            key="curves-csv",
            icon=":material/download:",
        )
    else:
        st.caption("No figures yet.")
    if len(chosen) > 1:
        _differences(chosen, names)


def _differences(chosen: list[Run], names: dict[str, str]) -> None:
    fields = differences([run.config.to_dict() for run in chosen])
    if not fields:
        st.markdown("**Settings:** the same in all of them.")
        return
    st.markdown("**Settings that differ**")
    table = {"setting": fields} | {
        plain(names[run.id]): [plain(_text(run.config.to_dict()[field])) for field in fields] for run in chosen
    }
    st.table(table, border="horizontal", hide_index=True)


def differences(configs: list[dict[str, Any]]) -> list[str]:
    """Fields that are not the same in all configs, in their order."""
    return [field for field in configs[0] if any(config.get(field) != configs[0][field] for config in configs)]


def unique_names(runs: list[Run]) -> dict[str, str]:
    """Run id -> name, with the end of the id where two runs share one."""
    names = [run.name for run in runs]
    return {run.id: run.name if names.count(run.name) == 1 else f"{run.name} ({run.id[-6:]})" for run in runs}


def _csv(rows: Any) -> bytes:
    import csv

    rows = list(rows)
    fields = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fields, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
