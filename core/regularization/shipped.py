"""Studies that ship: their results as data, to be explored without training anything."""

from __future__ import annotations

from pathlib import Path

from core.common.errors import LabError
from core.common.shipped import read_shipped
from core.regularization.results import StudyResult

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
    return read_shipped(path, StudyResult.from_dict, "study")
