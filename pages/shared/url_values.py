"""How values are written in an address, and read from it: readers raise LabError with a sentence for what is none."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from core.common.errors import LabError

TEXT_CHARACTERS = 500
"""Of a text in an address: servers and messengers cut longer addresses."""


def one_of(options: Collection[Any], what: str) -> Callable[[str], Any]:
    """Reads one of these options, by how it is written."""
    by_text = {str(option): option for option in options}

    def parse(text: str) -> Any:
        if text not in by_text:
            raise LabError(f"The link names the {what} {text[:60]!r}, which is not offered here: the default is used.")
        return by_text[text]

    return parse


def number(low: float, high: float, what: str, kind: type[int] | type[float] = int) -> Callable[[str], Any]:
    """Reads a number in this range."""

    def parse(text: str) -> Any:
        try:
            value = kind(text[:30])
        except ValueError:
            value = kind(high + 1)
        if not low <= value <= high:
            raise LabError(
                f"The link says {text[:30]!r} for {what}, which is not a number from {low:g} to {high:g}: the default is used."
            )
        return value

    return parse


def write_number(value: float) -> str:
    return f"{value:.10g}"


def short_text(text: str) -> str:
    """Reads a text that is short enough for a link."""
    if len(text) > TEXT_CHARACTERS:
        raise LabError(f"The link's text is longer than {TEXT_CHARACTERS} characters: the default is used.")
    return text


def write_short_text(text: str | None) -> str | None:
    return text if text is not None and len(text) <= TEXT_CHARACTERS else None


def several_of(options: Collection[str], what: str, most: int) -> Callable[[str], list[str]]:
    """Reads at most so many of these options; no comma of their own is taken for one between them."""
    one = one_of(options, what)
    return lambda text: list(dict.fromkeys(one(_unquoted(part)) for part in text.split(",") if part))[:most]


def write_several(chosen: Collection[str]) -> str:
    return ",".join(name.replace("%", "%25").replace(",", "%2C") for name in chosen)


def _unquoted(part: str) -> str:
    return part.replace("%2C", ",").replace("%25", "%")
