"""Everything that a study claims, as files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import streamlit as st

from core.common.report import Report
from core.regularization.analysis import ArmResult
from core.regularization.results import Curve, StudyResult
from pages.shared.elements import FILES_NOTE, download
from pages.shared.report import report_button
from pages.shared.tables import csv_bytes, file_stem, json_bytes
from pages.shared.text import escape_markdown


def files(result: StudyResult, rows: list[ArmResult], build: Callable[[], Report], key: str) -> None:
    """build: makes the report."""
    name = file_stem(result.name or key, "study")
    with st.container(horizontal=True, gap="small"):
        report_button(build, f"{name}-report", key=key)
        for kind, label, data, end in (
            ("table", "Table of arms (CSV)", lambda: csv_bytes(map(table_row, rows)), "arms.csv"),
            ("runs", "All runs (CSV)", lambda: csv_bytes(run_rows(result)), "runs.csv"),
            ("curves", "Curves (CSV)", lambda: csv_bytes(curve_rows(result)), "curves.csv"),
            ("study", "Whole study (JSON)", lambda: json_bytes(result.to_dict()), "study.json"),
        ):
            download(label, data, f"{name}-{end}", key=f"{kind}-{key}")
    st.caption(FILES_NOTE)
    made = {name: text for name, text in result.made.items() if text and name != "command"}
    if result.made:
        st.markdown("**How it was made**")
        st.caption(escape_markdown(" · ".join(f"{name}: {text}" for name, text in made.items())))
    if result.made.get("command"):
        st.code(result.made["command"], language="bash", wrap_lines=True)


def table_row(row: ArmResult) -> dict[str, Any]:
    """One arm at one size, plain values."""
    values = dataclasses.asdict(row)
    verdict = values.pop("verdict")
    return values | {f"verdict_{name}": value for name, value in verdict.items()}


def run_rows(result: StudyResult) -> Iterator[dict[str, Any]]:
    """One row per run, without its curve."""
    for item in result.members:
        values = {
            field.name: getattr(item, field.name)
            for field in dataclasses.fields(item)
            if field.name not in ("curve", "test_per_class")
        }
        per_class = dict(zip((f"test_accuracy_{label}" for label in result.classes), item.test_per_class, strict=False))
        yield values | {"val_gap": item.val_gap} | per_class


def curve_rows(result: StudyResult) -> Iterator[dict[str, Any]]:
    """One row per evaluation of each run."""
    fields = [field.name for field in dataclasses.fields(Curve)]
    for item in result.members:
        for values in zip(*(getattr(item.curve, name) for name in fields), strict=True):
            yield {"variant": item.variant, "train_size": item.train_size, "seed": item.seed} | dict(
                zip(fields, values, strict=True)
            )
