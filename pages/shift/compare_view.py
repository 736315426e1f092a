"""Shift / Compare: checkpoints on the same corrupted images, paired."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.shift.catalogue import CORRUPTIONS
from core.shift.figures import differences
from core.shift.kind import SHIFT
from core.shift.results import MEASUREMENTS, Figure, ShiftResult
from pages.shared.elements import folded, show_figure, show_table
from pages.shared.resources import dark, runs_now, store
from pages.shared.text import escape_markdown, show_error, unique_labels
from pages.shared.url import linked
from pages.shared.url_values import one_of
from pages.shift.result import EXAMPLES, order_of, read, source_words

BASES = {"checkpoints": "fast_resnet"}
"""What ships -> the checkpoint that others are compared with; else the first."""
FAMILIES = ("noise", "blur", "weather", "digital")


def compare_view() -> None:
    choice, base_place = st.columns(2)
    labels = unique_labels(
        {name: f"{title} that ship" for name, title in EXAMPLES.items() if name in MEASUREMENTS.shipped_names()}
        | {run.id: run.name for run in runs_now() if run.kind == SHIFT.name and len(run.config.checkpoints) > 1}
    )
    if not labels:
        st.info("There is nothing to compare yet: New measurement takes several checkpoints.")
        return
    with choice:
        linked("from", "shift-from", one_of(labels, "measurement"), next(iter(labels)), options=labels)
        name = st.selectbox(
            "Measurement",
            list(labels),
            format_func=lambda name: labels[name],
            key="shift-from",
            persist_state="session",
        )
    try:
        found = MEASUREMENTS.load_shipped(name) if name in EXAMPLES else read(store(), name)
    except LabError as error:
        show_error(error)
        return
    if not found.done or len(found.titles) < 2:
        st.info("This measurement has no two checkpoints with a corruption yet.")
        return
    names = list(found.config.checkpoints)
    usual = BASES.get(name, "")
    with base_place:
        linked(
            "base",
            "shift-base",
            one_of(names, "checkpoint"),
            usual if usual in names else names[0],
            of=name,
            options=names,
        )
        base = names.index(
            st.selectbox(
                "Compared with",
                names,
                format_func=lambda name: found.titles[names.index(name)],
                key="shift-base",
                persist_state="session",
            )
        )
    _draw(found, base, name)


def _draw(found: ShiftResult, base: int, key: str) -> None:
    order = [place for place in order_of(found) if place != base]
    count = len(order)
    st.markdown(f"## {escape_markdown(sentence(found, base, order))}")
    show_figure(
        differences(found, base, order, dark=dark()),
        key=f"differences-{key}-{base}",
        alt=f"Points against {found.titles[base]} on corrupted images: "
        + "; ".join(
            f"{found.titles[place]} {found.difference(base, place, comparisons=count).points}" for place in order
        ),
    )
    st.caption(
        f"Paired by image; all {count} intervals of a colour hold at once with 95%, over images and not over seeds. "
        f"{source_words(found)}"
    )
    folded("By family", lambda: _families(found, base, order, key), key=f"families-{key}", param="families")


def sentence(found: ShiftResult, base: int, order: list[int]) -> str:
    """Which gain and which cost robustness, in a sentence."""
    gaps = {place: found.difference(base, place, comparisons=len(order)) for place in order}
    better = [place for place in order if gaps[place].low > 0]
    worse = [place for place in reversed(order) if gaps[place].high < 0]
    title = found.titles[base]
    parts = []
    if better:
        parts.append(f"{found.titles[better[0]]} gains most: {_points(gaps[better[0]])}")
    if worse:
        parts.append(f"{found.titles[worse[0]]} costs most: {_points(gaps[worse[0]])}")
    if not parts:
        return f"No difference to {title} on corrupted images is beyond chance"
    return f"Against {title} on corrupted images, {'; '.join(parts)}"


def _points(gap: Figure) -> str:
    return f"{gap.points.partition(' ')[0]} points"


def _families(found: ShiftResult, base: int, order: list[int], key: str) -> None:
    """Corrupted accuracy by family, and the difference."""
    families = [
        (family, [name for name in found.common if CORRUPTIONS[name].family == family])
        for family in FAMILIES
        if any(CORRUPTIONS[name].family == family for name in found.common)
    ]
    count = len(order) * len(families)
    columns = {"Checkpoint": [escape_markdown(found.titles[place]) for place in order]}
    for family, names in families:
        columns[family.capitalize()] = [
            found.difference(base, place, names, comparisons=count).points for place in order
        ]
    show_table(columns, key=f"families-table-{key}")
    st.caption(f"Points against {escape_markdown(found.titles[base])}. The {count} intervals hold at once.")
