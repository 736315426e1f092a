"""Plain values: JSON and numbers out of files that anyone may have written, differences and durations as people read them."""

from __future__ import annotations

import json
import math
from typing import Any


def read_json(text: bytes | str) -> Any:
    """The value in a JSON text. Raises ValueError for whatever is none, nesting without end included."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold: no NaN, no infinity, no boolean, no 400-digit integer."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def signed(value: float, digits: int = 1) -> str:
    """`+1.3`, `−0.4`, `+0.0`: with a minus sign as wide as a plus, and no minus before zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """1:05, 2:03:45; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
