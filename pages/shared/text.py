"""Numbers and names as people read them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import streamlit as st

VALIDATION_PLAIN = "Validation accuracy of a run is measured without test-time augmentation."
"""Said wherever it stands beside a test accuracy, which is measured with the recipe's."""
NATS = "Nats measure surprise, in natural logarithms: one nat is 1.44 bits. Less is better."
UNBROKEN = "\N{NO-BREAK SPACE}"


def escape_markdown(text: object) -> str:
    """A text as it is, inside Markdown: whoever calls a run `*a*` sees just that.

    For everything that a link, a file, a folder or a person names: as Markdown it could plant links and images.
    """
    line = re.sub(r"([\\`*_{}\[\]()#+!|~<>$:&=-])", r"\\\1", " ".join(str(text).split()))
    # Streamlit links bare addresses too, escaped or not; a word joiner, which nobody sees, takes them apart.
    line = re.sub(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", "\u2060", line, flags=re.IGNORECASE)
    return re.sub(r"^(\d+)\.(?= |$)", r"\1\\.", line)  # no list


def show_error(error: object) -> None:
    """What went wrong, in the sentence of its error; it may quote anything, so nothing in it is Markdown."""
    st.error(escape_markdown(error))


def duration(seconds: float) -> str:
    """Seconds for people: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: float) -> str:
    """Bytes for people, decimal units: `170 MB`, which no line break takes apart."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            digits = 0 if count >= 10 or unit == "B" else 1
            return f"{count:.{digits}f}{UNBROKEN}{unit}"
        count /= 1000
    raise AssertionError


def label_error(error: object, labels: Mapping[str, str]) -> str:
    """A complaint about a field (`lr=0 is not valid: lr must …`) with the form's label where it has the field's name."""
    text = str(error)
    named = re.match(r"(\w+)(=| is missing)", text)
    name = named[1] if named else ""
    if name not in labels:
        return text
    return re.sub(rf"\b{name}\b", labels[name], text).replace("=", " ", 1)


def shorten(text: str, characters: int) -> str:
    """A text of at most so many characters, which has lost its middle: names often differ in their first or last word."""
    if len(text) <= characters:
        return text
    tail = (characters - 1) // 2
    return f"{text[: characters - 1 - tail].rstrip()}…{text[-tail:].lstrip()}"


def unique_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels by name, with the name before those that are there already: a widget tells options apart by what they say, and
    cuts what is long."""
    found: dict[str, str] = {}
    for name, label in labels.items():
        found[name] = label if label not in found.values() else f"{name} · {label}"
    return found


def replaced_words(replaced: tuple[tuple[str, str], ...], where: str) -> str:
    """Markdown that says which characters a language model does not know, and what it reads instead. where: `the prompt`."""
    shown = ", ".join(f"{_sign(old)} as {_sign(new)}" for old, new in replaced[:12])
    more = f" and {len(replaced) - 12} more" if len(replaced) > 12 else ""
    return f"The model never saw some characters of {where} and reads them as others: {shown}{more}."


def _sign(character: str) -> str:
    names = {" ": "a space", "\n": "a new line", "\t": "a tab"}
    return names.get(character) or (
        f"“{escape_markdown(character)}”" if character.isprintable() else f"U+{ord(character):04X}"
    )
