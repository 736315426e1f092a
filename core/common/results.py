"""Results of jobs as JSON: what a run's folder keeps of them (facts, and one file per part), and examples that ship."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.common.errors import LabError
from core.common.paths import write_atomic
from core.common.values import read_json

Result = TypeVar("Result")
Part = TypeVar("Part")

FACTS = "facts.json"
"""What a run knows as a whole: `classes`, `made` (hardware, versions, code, date), `data`, and what its room adds."""
DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What reading and parsing a file raises that anyone may have written."""


def check_format(values: Any, number: int, what: str) -> dict[str, Any]:
    """The values, if they are of this format; without a number they are of format 1. Raises LabError otherwise."""
    if not isinstance(values, dict) or values.get("format", 1) != number:
        raise LabError(f"This is no {what} that this version can read: make it again with this version.")
    return values


class ResultStore(Generic[Result, Part]):
    """The files of one room's results. Parts and examples are read once, and again when their file has changed."""

    def __init__(
        self,
        what: str,
        shipped: Path,
        parse: Callable[[Any], Result],
        *,
        part_file: str = "",
        parse_part: Callable[[Any], Part] | None = None,
    ) -> None:
        """what: `study`, as sentences call a result. shipped: the folder of the examples, `NAME.json` each.

        parse, parse_part: from plain values; they may raise LabError or any of DAMAGED. part_file: name of the file in a
        part's folder that holds its result.
        """
        self.what, self.shipped, self.parse = what, shipped, parse
        self.part_file, self.parse_part = part_file, parse_part

    def read_facts(self, folder: Path) -> dict[str, Any]:
        """The facts of the run in `folder`; `classes` and `made` are there, and empty where the file cannot be read."""
        try:
            facts = read_json((folder / FACTS).read_bytes())
            made = {str(key): str(value) for key, value in facts.get("made", {}).items()}
            return dict(facts) | {"classes": [str(item) for item in facts.get("classes", ())], "made": made}
        except DAMAGED:
            return {"classes": [], "made": {}}

    def write_facts(self, folder: Path, **facts: Any) -> None:
        """Add to the facts of the run in `folder`, or replace some of them."""
        write_atomic(folder / FACTS, json.dumps(self.read_facts(folder) | facts, indent=1) + "\n")

    def check_data(self, folder: Path, title: str, data: Mapping[str, str]) -> None:
        """Keep what the data of the run in `folder` are, checksums and classes, when it begins.

        Raises LabError where they are others than those that it began with. title: of the dataset.
        """
        if self.read_facts(folder).get("data", data) != data:
            raise LabError(
                f"The data of {title[:80]} have changed since this {self.what} began: put them back as they were, or start a "
                f"new {self.what}."
            )
        self.write_facts(folder, data=dict(data))

    def read_part(self, folder: Path) -> Part | None:
        """The result of the part in `folder`; None while there is none, or where it cannot be read."""
        assert self.parse_part is not None
        try:
            part: Part = _read(folder / self.part_file, self.parse_part)
        except DAMAGED:
            return None
        return part

    def write_part(self, folder: Path, part: Any) -> None:
        """Keep the result of a part, a dataclass or its plain values, in the part's folder."""
        values = part if isinstance(part, dict) else dataclasses.asdict(part)
        write_atomic(folder / self.part_file, json.dumps(values) + "\n")

    def shipped_names(self) -> tuple[str, ...]:
        return tuple(sorted(path.stem for path in self.shipped.glob("*.json")))

    def load_shipped(self, name: str) -> Result:
        """An example that ships. Raises LabError for a name that is not known, or a file that cannot be read."""
        names = self.shipped_names()
        if name not in names:
            choice = f"choose one of {', '.join(names)}" if names else "make one of your own"
            raise LabError(f"No {self.what} named {name[:60]!r} ships: {choice}.")
        path = self.shipped / f"{name}.json"
        try:
            result: Result = _read(path, self.parse)
        except LabError:
            raise
        except DAMAGED as error:
            raise LabError(f"The {self.what} {path} cannot be read: get it again.") from error
        return result


def _read(path: Path, parse: Callable[[Any], Any]) -> Any:
    found = path.stat()
    return _parse(str(path), (found.st_ino, found.st_mtime_ns, found.st_size), parse)


@lru_cache(maxsize=4096)
def _parse(path: str, stamp: tuple[int, int, int], parse: Callable[[Any], Any]) -> Any:
    return parse(read_json(Path(path).read_bytes()))
