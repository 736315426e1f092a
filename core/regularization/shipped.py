"""Studies that ship: their results as data, to be explored without training anything."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from core.errors import LabError
from core.regularization.results import StudyResult
from core.values import read_json

SHIPPED = Path(__file__).parent / "shipped"
EXAMPLE = "example"
"""The one that the page opens with."""


def shipped_names() -> tuple[str, ...]:
    """Names of the studies that ship."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.json")))


def load_shipped(name: str = EXAMPLE) -> StudyResult:
    """A study that ships. Raises LabError for a name that is not known, or a file that cannot be read."""
    if name not in shipped_names():
        raise LabError(f"No study named {name[:60]!r} ships: choose one of {', '.join(shipped_names()) or 'none'}.")
    path = SHIPPED / f"{name}.json"
    return _read(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: str, changed_ns: int) -> StudyResult:
    try:
        return StudyResult.from_dict(read_json(Path(path).read_bytes()))
    except (OSError, ValueError) as error:
        if isinstance(error, LabError):
            raise
        raise LabError(f"The study {path} cannot be read: get it again.") from error
