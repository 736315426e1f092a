"""Results that ship as JSON beside the code that makes them: read once, and again when the file has changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from core.common.errors import LabError
from core.common.values import read_json

Result = TypeVar("Result")


def read_shipped(path: Path, parse: Callable[[Any], Result], what: str) -> Result:
    """parse: plain values to a result. what: what it is called in a sentence.

    Raises OSError for a file that is not there, LabError for one that cannot be read.
    """
    found: Result = _read(str(path), path.stat().st_mtime_ns, parse, what)
    return found


@lru_cache(maxsize=16)
def _read(path: str, changed_ns: int, parse: Callable[[Any], Any], what: str) -> Any:
    try:
        return parse(read_json(Path(path).read_bytes()))
    except (OSError, ValueError) as error:
        if isinstance(error, LabError):
            raise
        raise LabError(f"The {what} {path} cannot be read: get it again.") from error
