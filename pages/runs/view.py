"""The Runs page: a table to choose from, and what can be done with what was chosen."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.checkpoints.store import find_checkpoint
from core.common.errors import LabError
from core.data import dataset_title
from core.jobs import Run
from core.training.figures_runs import METRICS, X_AXES, overlay
from pages.runs.actions import actions
from pages.runs.table import row, runs_table
from pages.shared.elements import download, show_figure, show_table
from pages.shared.resources import dark, runs_now, store
from pages.shared.run_controls import train_links
from pages.shared.run_labels import state_words
from pages.shared.tables import csv_bytes
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked, linked_flag
from pages.shared.url_values import one_of

SETTING = "**Setting**"
"""Heading above the fields. No run can have it: its name is no Markdown."""
MOST_NAMED = 3
"""Of runs that tie."""
FIRST = ("Images", "Text", "Studies", "Compression")
"""Groups in this order, before those of further kinds."""


def runs_view() -> None:
    try:
        runs = runs_now()
    except LabError as error:
        show_error(error)
        return
    if not runs:
        st.markdown("#### Nothing was trained here yet.")
        st.markdown("Train a classifier or a language model: its run appears here as soon as it is started.")
        train_links()
        return
    busy = any(run.active for run in runs)
    groups = grouped(runs)
    st.markdown(f"#### {summary(groups)}")
    group = _choose_group(groups)
    if best := best_of(groups[group]):
        st.markdown(best)
    linked_flag("columns", "runs-columns")
    chosen = runs_table(groups[group], text=_all_text(groups[group]))
    with st.container(horizontal=True, gap="small"):
        if chosen:
            actions(chosen)
        st.toggle("All columns", key="runs-columns", persist_state="session")
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
        st.caption(
            "Click a name to open a run. Select rows to compare their curves and settings, or to rename, resume, stop or delete "
            "them."
        )
    if busy:
        st.fragment(_refresh, run_every=5.0)([state_words(run) for run in runs])


def grouped(runs: list[Run]) -> dict[str, list[Run]]:
    """Heading -> its runs, newest first; the lab's own headings first."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.job_kind.group(run), []).append(run)
    return {name: found[name] for name in sorted(found, key=lambda name: (*FIRST, name).index(name))}


def summary(groups: Mapping[str, list[Run]]) -> str:
    """How many runs there are, of which groups, and how many are under way, in one sentence of Markdown."""
    runs = [run for found in groups.values() for run in found]
    parts = ", ".join(f"{escape_markdown(name)} {len(found)}" for name, found in groups.items())
    active = sum(run.active for run in runs)
    under_way = f"{active} under way" if active else "none under way"
    return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, {under_way}: {parts}."


def best_of(runs: list[Run]) -> str:
    """The best run on each dataset, by its test accuracy where one was measured; several where the data cannot tell them
    apart. Empty where nothing compares."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.job_kind.best(run):
            found.setdefault(run.facts.dataset, []).append(run)
    return " ".join(filter(None, (_best_on(dataset_title(name), here) for name, here in list(found.items())[:3])))


def _best_on(title: str, runs: list[Run]) -> str:
    """One sentence of Markdown; empty where no figure says something of images or characters that training did not see."""
    text, tested = _all_text(runs), [run for run in runs if run.figure("test_accuracy") is not None]
    name, part = ("test_accuracy", "test") if tested else ("best_val_accuracy", "validation")
    if text:
        name = "best_val_loss_nats"
    kept = tested or [run for run in runs if text or run.config.train_on == "train"]
    scored = [(value, run) for run in kept if (value := run.figure(name)) is not None]
    if not scored:
        return ""

    def shown(value: float) -> str:
        return f"{value:.3f} nats" if text else f"{value:.1%}"

    best, winner = (min if text else max)(scored, key=lambda item: item[0])
    interval = None if text else _interval(winner, best, part)
    tied = [run for value, run in scored if shown(value) == shown(best) or (interval and value >= interval[0])]
    if len(tied) == 1:
        return f"Best on {escape_markdown(title)}: **{escape_markdown(winner.name)}**, {shown(best)} {part}."
    others = [run for run in tied if run is not winner]
    names = [f"**{escape_markdown(run.name)}**" for run in (winner, *others)[:MOST_NAMED]]
    more = f" and {len(tied) - MOST_NAMED} more" if len(tied) > MOST_NAMED else ""
    why = f"95% interval {interval[0]:.1%} to {interval[1]:.1%}" if interval else "the same figure"
    return f"Tie on {escape_markdown(title)}: {', '.join(names)}{more}; best {shown(best)} {part} ({why})."


def _interval(run: Run, accuracy: float, part: str) -> tuple[float, float] | None:
    """Of an accuracy of a run's checkpoint, 0..1; None where that is gone."""
    try:
        return find_checkpoint(run.id).card.interval(accuracy, part)
    except LabError:
        return None


def _choose_group(groups: Mapping[str, list[Run]]) -> str:
    """The group that is shown: at first that of the newest run."""
    newest = max(groups, key=lambda name: max(run.id for run in groups[name]))
    linked("group", "runs-group", one_of(groups, "group"), newest, options=groups)
    return st.segmented_control(
        "Group",
        list(groups),
        required=True,
        key="runs-group",
        label_visibility="collapsed",
        wrap=True,
        persist_state="session",
    )


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
    linked("metric", "metric", one_of(figures, "curve"), figures[0])
    linked("against", "against", one_of(X_AXES, "axis"), next(iter(X_AXES)))
    metric = left.selectbox(
        "Curve", figures, format_func=lambda key: METRICS[key][0].capitalize(), key="metric", persist_state="session"
    )
    against = right.selectbox(
        "Against",
        list(X_AXES),
        format_func=lambda key: X_AXES[key].capitalize(),
        key="against",
        persist_state="session",
    )
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
    table = {SETTING: fields} | {
        escape_markdown(names[run_id]): [escape_markdown(_text(field, config.get(field))) for field in fields]
        for run_id, config in configs.items()
    }
    show_table(table, key="differences")


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
