"""Plain values: JSON and numbers out of files that anyone may have written, differences and durations as people read them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(text: bytes | str) -> Any:
    """The value in a JSON text. Raises ValueError for whatever is none, nesting without end and halves of characters included."""
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):  # no page and no file takes half a character
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


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


def superscript(number: int) -> str:
    """`⁻¹²`."""
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def scientific(value: float, digits: int = 2) -> str:
    """`0.42`, `−130`, `2.6·10⁻⁵`, `10⁷`: so many significant digits, with a power of ten where zeros would have to be counted."""
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    if not -4 <= int(power) < 4:
        factor = "" if float(mantissa) == 1 else f"{float(mantissa):g}·"
        return f"{factor}10{superscript(int(power))}".replace("-", "−")
    return f"{float(f'{value:.{digits}g}'):.{digits + 4}g}".replace("-", "−")


def t_half_width(values: Sequence[float]) -> float | None:
    """Half of the 95% interval of the mean (Student's t); None for fewer than two values."""
    if len(values) < 2:
        return None
    import statistics

    from scipy import special  # takes a while to load

    n = len(values)
    return float(special.stdtrit(n - 1, 0.975)) * statistics.stdev(values) / math.sqrt(n)


def wilson(hits: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95% interval of a proportion (Wilson 1927), which stays inside 0..1. (0, 1) for n = 0. hits: may be a fraction, where each
    of the n is a mean."""
    if n == 0:
        return 0.0, 1.0
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def plural(number: float, noun: str) -> str:
    """`1 thread`, `2.5 epochs`, `3 processes`."""
    return f"{number:g} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def one_line(text: str, most: int | None = None) -> str:
    """A text that a person or a file gave as one printable line of at most so many characters; empty where nothing is left."""
    printable = "".join(each if each.isprintable() else " " for each in text[: most and 20 * most])
    return " ".join(printable.split())[:most].strip()


def plus_minus(value: float, half_width: float, digits: int) -> str:
    """`+3.1 ± 0.6`, with more digits where it takes them to show that the interval leaves out 0."""
    while abs(value) > half_width and digits < 5 and round(abs(value), digits) <= round(half_width, digits):
        digits += 1
    return f"{signed(value, digits)} ± {half_width:.{digits}f}"


def duration(seconds: float | None) -> str:
    """1:05, 2:03:45; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
