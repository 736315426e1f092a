"""The Runs page: a table to choose from, and what can be done with what was chosen."""

from __future__ import annotations

import itertools
import json
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.jobs import Run
from core.training.figures_runs import METRICS, X_AXES, overlay
from pages.runs.actions import actions
from pages.runs.table import row, runs_table
from pages.shared.elements import download, show_figure
from pages.shared.resources import dark, runs_now, store
from pages.shared.run_controls import train_links
from pages.shared.run_labels import state_words
from pages.shared.tables import csv_bytes
from pages.shared.text import escape_markdown, show_error


def runs_view() -> None:
    try:
        runs = runs_now()
    except LabError as error:
        show_error(error)
        return
    if not runs:
        st.info("Nothing was trained here yet. A run appears in this table as soon as it is started.")
        train_links()
        return
    busy = any(run.active for run in runs)
    chosen = runs_table(runs)
    with st.container(horizontal=True, gap="small"):
        if chosen:
            actions(chosen)
        download("Table (CSV)", lambda: csv_bytes(map(row, runs)), "runs.csv", key="table-csv")
    problem = st.session_state.pop("runs-problem", None)
    if problem:
        show_error(problem)
    curves = [run for run in chosen if run.config is not None and not run.job_kind.figures_command]
    if curves:
        _compare(curves)
    elif chosen:
        st.caption("Its curves are on its own page: select it alone, and open it.")
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


def _compare(chosen: list[Run]) -> None:
    rows = {run.id: store().metrics(run.id) for run in chosen}
    names = unique_names(chosen)
    left, right = st.columns(2)
    # The headline figure first: of language models their loss, of anything else accuracy.
    figures = sorted(METRICS, key=lambda key: key != "val_loss_nats") if _all_text(chosen) else list(METRICS)
    metric = left.selectbox("Curve", figures, format_func=lambda key: METRICS[key][0].capitalize(), key="metric")
    against = right.selectbox("Against", list(X_AXES), format_func=lambda key: X_AXES[key].capitalize(), key="against")
    if any(row["kind"] == "eval" for found in rows.values() for row in found):
        figure = overlay(
            {names[run.id]: rows[run.id] for run in chosen},
            metric=metric,
            against=against,
            dark=dark(),
            places=_places([run.id for run in chosen]),
        )
        show_figure(
            figure,
            key="overlay",
            buttons=None,
            alt=f"{METRICS[metric][0]} of {len(chosen)} runs against {X_AXES[against]}",
        )
        table = [{"run": run.id, "name": run.name} | row for run in chosen for row in rows[run.id]]
        download("Curves (CSV)", lambda: csv_bytes(table), "curves.csv", key="curves-csv")
    else:
        st.caption("No figures yet.")
    if len(chosen) > 1:
        _differences(chosen, names)


def _all_text(runs: list[Run]) -> bool:
    return all(run.task == "text" for run in runs)


def _places(chosen: list[str]) -> list[int]:
    """A colour's place for each run, kept while it stays chosen: choosing one more must not repaint the others."""
    before: dict[str, int] = st.session_state.get("colour-places", {})
    places = {run_id: before[run_id] for run_id in chosen if run_id in before}
    free = (place for place in itertools.count() if place not in before.values())
    for run_id in chosen:
        if run_id not in places:
            places[run_id] = next(free)
    st.session_state["colour-places"] = places
    return [places[run_id] for run_id in chosen]


def _differences(chosen: list[Run], names: dict[str, str]) -> None:
    configs = {run.id: run.job_kind.write_config(run.config) for run in chosen}
    fields = differences(list(configs.values()))
    if not fields:
        st.markdown("**Settings:** the same in all of them.")
        return
    st.markdown("**Settings that differ**")
    table = {"setting": fields} | {
        escape_markdown(names[run_id]): [escape_markdown(_text(field, config.get(field))) for field in fields]
        for run_id, config in configs.items()
    }
    st.table(table, border="horizontal", hide_index=True)


def differences(configs: list[dict[str, Any]]) -> list[str]:
    """Fields that are not the same in all configs, in their order."""
    fields = dict.fromkeys(field for config in configs for field in config)
    return [field for field in fields if any(config.get(field) != configs[0].get(field) for config in configs)]


def unique_names(runs: list[Run]) -> dict[str, str]:
    """Run id -> name, with the end of the id where two runs share one."""
    names = [run.name for run in runs]
    return {run.id: run.name if names.count(run.name) == 1 else f"{run.name} ({run.id[-6:]})" for run in runs}


def _text(field: str, value: Any) -> str:
    if field == "train_images" and value == 0:
        return "all"
    return value if isinstance(value, str) else json.dumps(value)
