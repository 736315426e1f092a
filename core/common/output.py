"""What commands print: JSON or aligned text on stdout, progress on stderr."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Self

from core.common.errors import LabError

PLAIN_EVERY_S = 10.0
REDRAW_EVERY_S = 0.1


def print_json(value: Any) -> None:
    """ASCII only: a file name may hold bytes that are no text, and every terminal and parser takes this."""
    print(json.dumps(value, indent=1), flush=True)


def note(sentence: str) -> None:
    """A sentence for the person at the terminal, out of the way of results."""
    print(sentence, file=sys.stderr, flush=True)


def harmless(text: str) -> str:
    """A text for a terminal: control characters, which might steer it, as escapes; newlines and tabs as they are."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def print_table(rows: list[dict[str, Any]], columns: list[str]) -> None:
    """Columns padded to their widest value. Nothing at all for no rows."""
    if not rows:
        return
    cells = [columns, *([_text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        print("  ".join(value.ljust(width) for value, width in zip(line, widths)).rstrip())


def check_output(flag: str, name: str, endings: tuple[str, ...] = (), other: str | None = None) -> Path:
    """The file to write. Raises LabError, before the work begins, for what cannot be one.

    endings: one of them ends its name; empty for any. other: a file that must not be lost.
    """
    shown = f"{flag} {name[:200]}"
    if endings and not name.lower().endswith(endings):
        raise LabError(f"{shown} is not valid: the file's name must end in {' or '.join(endings)}.")
    try:
        path = Path(name).expanduser()
        if not name or "\0" in name or path.is_dir() or not path.parent.is_dir():
            raise LabError(f"{shown} is not a file that can be written: give one in a folder that is there.")
        if path.exists() and not path.is_file():
            raise LabError(f"{shown} is a device or a pipe, which cannot be replaced by a file: give another name.")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise LabError(f"The folder {path.parent} is not writable: give {flag} a file in another one.")
        if other is not None and _same_file(path, Path(other).expanduser()):
            raise LabError(f"{shown} is {other} itself, which would be lost: give another name.")
    except (OSError, RuntimeError) as error:  # a name that is too long, an unknown ~user
        raise LabError(f"{shown} is not the name of a file: give a shorter one, without special characters.") from error
    return path


def _same_file(one: Path, other: Path) -> bool:
    """Whether two names are of one file, also through links of either kind."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


class Bar:
    """A progress bar on a terminal; plain lines, one every ten seconds, elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self._drawn = -PLAIN_EVERY_S
        self._line = ""
        self._plain = ""

    def show(self, fraction: float | None, words: str, *, now: bool = False) -> None:
        """fraction: 0..1, or None where it is not known. now: print even if a line was printed just before."""
        moment = time.monotonic()
        if not now and moment - self._drawn < (REDRAW_EVERY_S if self.terminal else PLAIN_EVERY_S):
            return
        percent = "" if fraction is None else f"{fraction:4.0%} "
        if self.terminal:
            done = round(20 * (fraction or 0))
            bar = "" if fraction is None else f"[{'#' * done}{'.' * (20 - done)}]"
            line = f"{bar}{percent}{words}"[: shutil.get_terminal_size().columns - 1]
            print("\r" + line.ljust(len(self._line)), end="", file=sys.stderr, flush=True)
            self._line = line
        elif f"{percent}{words}" != self._plain:
            self._plain = f"{percent}{words}"
            note(self._plain.strip())
        self._drawn = moment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Clear the line of the bar."""
        if self._line:
            print("\r" + " " * len(self._line) + "\r", end="", file=sys.stderr, flush=True)
            self._line = ""


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
