"""Hardware / Compare: two grids beside each other, one of them maybe a file from another machine."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.hardware.compare import comparison, names_of, shared_rows
from core.hardware.expect import times
from core.hardware.figures import machines_figure
from core.hardware.results import MAX_BYTES, HardwareResult, Row, read_file
from pages.hardware.sources import choose_group, grid_labels, open_grid, pick
from pages.shared.copy_link import not_in_link
from pages.shared.elements import folded, show_figure, show_table
from pages.shared.resources import dark
from pages.shared.text import escape_markdown, show_error

FILE = "file"
"""Stands for a result file among the grids."""


def compare_view() -> None:
    labels = grid_labels()
    if not labels:
        st.info(
            "There is no grid yet: New grid measures one, and a result file of another machine is compared with it."
        )
        return
    left, right = st.columns(2)
    names = list(labels)
    with left:
        first = pick("Grid", "first", labels, names[0])
    with right:
        second = pick("Compared with", "second", labels | {FILE: "A result file"}, names[1] if names[1:] else FILE)
    try:
        given = _given() if second == FILE else open_grid(second)
        if given is not None:
            _draw(open_grid(first), given, f"{first}-{second}")
    except LabError as error:
        show_error(error)


def _given() -> HardwareResult | None:
    """What a person brought from another machine."""
    file = st.file_uploader(
        "Result file of another machine",
        type=["json"],
        max_upload_size=MAX_BYTES // 1_000_000,
        key="hardware-file",
        help="On the other machine: open its grid, Files, All figures (JSON).",
    )
    not_in_link("The result file is not in the link.")
    return None if file is None else read_file(file.getvalue())


def _draw(first: HardwareResult, second: HardwareResult, key: str) -> None:
    pairs, names = shared_rows(first, second), names_of(first, second)
    group = choose_group(list(dict.fromkeys(one.setup.group for one, _ in pairs)), key)
    pairs = [pair for pair in pairs if pair[0].setup.group == group]
    st.markdown(f"## {escape_markdown(comparison(pairs, names))}")
    st.caption(escape_markdown("; ".join(map(_origin, (first, second)))))
    show_figure(
        machines_figure(pairs, names, dark=dark()),
        key=f"machines-{key}-{group}",
        alt="Images per second: "
        + "; ".join(
            f"{one.setup.words} {one.images_per_s.middle:,.0f} and {two.images_per_s.middle:,.0f}" for one, two in pairs
        ),
    )
    folded("As a table", lambda: _table(pairs, names, key), key=f"both-{key}", param="table")


def _origin(result: HardwareResult) -> str:
    parts = [result.title, result.machine.title if result.machine else "", result.made.get("date", "")]
    return " · ".join(filter(None, parts))


def _table(pairs: list[tuple[Row, Row]], names: tuple[str, str], key: str) -> None:
    first, second = map(escape_markdown, names)
    show_table(
        {
            "Setting": [one.setup.words for one, _ in pairs],
            f"{first}, images/s": [f"{one.images_per_s.middle:,.0f}" for one, _ in pairs],
            f"{second}, images/s": [f"{two.images_per_s.middle:,.0f}" for _, two in pairs],
            "Times": [times(two.images_per_s.middle / one.images_per_s.middle) for one, two in pairs],
        },
        key=f"both-table-{key}",
    )
