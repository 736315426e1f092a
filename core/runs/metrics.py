"""`metrics.jsonl`: one JSON object a line, appended by one worker, read by anyone at any time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from core.paths import write_atomic

METRICS = "metrics.jsonl"


def to_line(row: dict[str, Any]) -> str:
    """One line. Numbers that are not finite become null: strict JSON has none."""
    clean = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(clean, allow_nan=False) + "\n"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All whole rows, in order. A line that is torn (the writer was cut off) or damaged is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    rows = []
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int) and row.get("kind") in ("train", "eval"):
            rows.append(row)
    return rows


def keep_until(path: Path, step: int, evaluated_step: int) -> None:
    """Drop what lies after a saved state: train rows after `step`, eval rows after `evaluated_step`."""
    last = {"train": step, "eval": evaluated_step}
    kept = [row for row in read_rows(path) if row["step"] <= last[row["kind"]]]
    if kept or path.exists():
        write_atomic(path, "".join(map(to_line, kept)))
