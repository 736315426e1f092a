"""`metrics.jsonl`: one JSON object a line, appended by one worker, read by anyone at any time."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.common.paths import write_atomic
from core.common.values import finite, read_json

METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
"""What a language model wrote at each evaluation: `step`, `epoch`, `text`."""


def to_line(row: dict[str, Any]) -> str:
    """One line. Numbers that are not finite become null: strict JSON has none."""
    clean = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(clean, allow_nan=False) + "\n"


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [row for row in read_objects(path) if row.get("kind") in ("train", "eval") and _is_whole(row)]


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file. A line that is torn (the writer was cut off) or damaged is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.splitlines():
        with contextlib.suppress(ValueError):
            value = read_json(line)
            if isinstance(value, dict):
                yield value


def _is_whole(row: dict[str, Any]) -> bool:
    """Whether it has its place in the run, and nothing but numbers where figures belong."""
    if not all(finite(row.get(name)) for name in ("step", "epoch")) or not isinstance(row["step"], int):
        return False
    return all(
        value is None or isinstance(value, bool) or finite(value) for name, value in row.items() if name != "kind"
    )


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a line; at once, because a reader may look at any time."""
    with path.open("ab", buffering=0) as file:
        file.write(to_line(row).encode())


def rewind(path: Path, step: int) -> None:
    """Drop the rows after that step, which the steps to come will write again, and a line that was cut off."""
    if path.exists():
        rows = (row for row in read_objects(path) if finite(row.get("step")) and row["step"] <= step)
        write_atomic(path, "".join(map(to_line, rows)))


def keep_until(path: Path, step: int, evaluated_step: int) -> None:
    """Drop what lies after a saved state: train rows after `step`, eval rows after `evaluated_step`."""
    last = {"train": step, "eval": evaluated_step}
    kept = [row for row in read_rows(path) if row["step"] <= last[row["kind"]]]
    if kept or path.exists():
        write_atomic(path, "".join(map(to_line, kept)))


def read_samples(path: Path) -> list[dict[str, Any]]:
    """What was written at each evaluation, in order of steps. A run that went back to a saved state writes some again:
    the later one counts."""
    found: dict[int, dict[str, Any]] = {}
    for row in read_objects(path):
        if isinstance(row.get("text"), str) and _is_whole({**row, "text": None}):
            found[row["step"]] = row
    return [found[step] for step in sorted(found)]
