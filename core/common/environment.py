"""Numbers in environment variables."""

from __future__ import annotations

import os

from core.common.errors import LabError
from core.common.values import finite


def number_from(name: str, least: float, most: float, *, whole: bool = False) -> float | None:
    """The number that a variable holds; None where it is not set or empty. Raises LabError for anything else."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not finite(value) or not least <= value <= most or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise LabError(f"{name}={text[:40]!r} is not valid: set it to {kind} from {least:g} to {most:g}, or remove it.")
    return value
