"""The grids that a view can open: those that ship, and those of this machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import streamlit as st

from core.hardware.expect import Expectation
from core.hardware.kind import HARDWARE
from core.hardware.results import GRIDS, HardwareResult, read_grid
from core.hardware.setups import WORKS
from core.jobs import RunStore
from pages.shared.resources import runs_now, store
from pages.shared.text import unique_labels
from pages.shared.url import linked
from pages.shared.url_values import one_of

EXAMPLES = {"simple_cnn": "Simple CNN", "fast_resnet": "Fast ResNet"}
"""What ships -> what its switch says."""


def read(runs: RunStore, run_id: str) -> HardwareResult:
    """What there is of a grid. Raises LabError."""
    return read_grid(runs.folder(run_id), runs.config(run_id))


def grid_labels() -> dict[str, str]:
    """Name -> label, those that ship first."""
    shipped = {name: f"{title} (ships)" for name, title in EXAMPLES.items() if name in GRIDS.shipped_names()}
    return unique_labels(shipped | {run.id: run.name for run in runs_now() if run.kind == HARDWARE.name})


def open_grid(name: str) -> HardwareResult:
    """Raises LabError."""
    return GRIDS.load_shipped(name) if name in EXAMPLES else read(store(), name)


def pick(label: str, param: str, names: dict[str, str], default: str) -> str:
    """The chosen one; the address carries it."""
    key = f"hardware-{param}"
    linked(param, key, one_of(names, "grid"), default, options=names)
    chosen = st.selectbox(label, list(names), format_func=names.__getitem__, key=key, persist_state="session")
    return str(chosen)


def choose_group(groups: Collection[tuple[str, int]], key: str) -> tuple[str, int]:
    """One of these works and batch sizes; the largest batch first, where throughput counts."""
    works = [work for work in WORKS if any(its == work for its, _ in groups)]
    work = works[0]
    with st.container(horizontal=True):
        if len(works) > 1:
            widget = f"hardware-work-{key}"
            linked("work", widget, one_of(works, "work"), works[0], options=works)
            work = st.segmented_control(
                "Work", works, required=True, format_func=WORKS.__getitem__, key=widget, persist_state="session"
            )
        sizes = sorted(batch for its, batch in groups if its == work)
        batch = sizes[-1]
        if len(sizes) > 1:
            widget = f"hardware-batch-{key}-{work}"
            linked("batch", widget, one_of(sizes, "batch size"), batch, options=sizes, of=work)
            batch = st.segmented_control(
                "Images of one call", sizes, required=True, key=widget, persist_state="session"
            )
    return work, batch


def reasons(expected: Iterable[tuple[Any, Expectation]]) -> str:
    """Why, each sentence once."""
    return " ".join(dict.fromkeys(why for _, each in expected for why in each.why))
