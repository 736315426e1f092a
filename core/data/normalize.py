"""One way to write a text: line feeds, no invisible characters, Unicode's composed form (NFC, UAX #15).

A model reads characters, so two ways to write one letter are two letters to it. What is changed is counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

JOINING_SCRIPTS = (
    "\u0600-\u07ff\u0840-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua87f\ufb50-\ufdff\ufe70-\ufefe"
)
"""Arabic, Syriac, N'Ko, Mandaic, the scripts of India, Tibetan, Burmese, Khmer, Mongolian: joiners spell words there."""
EMOJI = "\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff"
RETURN, MARK, ZERO_WIDTH = "carriage return", "byte order mark", "zero-width character"
HYPHEN, CONTROL = "soft hyphen", "control character"
BREAK, COMPOSED = "unusual line break", "character"
REMOVED = (RETURN, MARK, ZERO_WIDTH, HYPHEN, CONTROL)
NAMES = (*REMOVED, BREAK, COMPOSED)
CONTROLS = "".join(map(chr, (*range(0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0))))
JOINER = rf"(?<![{JOINING_SCRIPTS}])(?:\u200c|(?<![{EMOJI}])\u200d|\u200d(?![{EMOJI}]))(?![{JOINING_SCRIPTS}])"
RULES = (
    (RETURN, "\r", r"\r(?=\n)", ""),
    (BREAK, "\r\v\f\x85\u2028\u2029", r"[\r\v\f\x85\u2028\u2029]", "\n"),
    (MARK, "\ufeff", "\ufeff", ""),
    (ZERO_WIDTH, "\u200b\u2060", "[\u200b\u2060]", ""),
    (HYPHEN, "\xad", "\xad", ""),
    (CONTROL, CONTROLS, f"[{re.escape(CONTROLS)}]", ""),
    (ZERO_WIDTH, "\u200c\u200d", JOINER, ""),
)
"""In this order: what is changed, characters of which a text has to have one, where it is changed, what stands there then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalizedText:
    text: str
    changes: dict[str, int]
    """How often each thing was changed, by its name in the singular; only what was changed at all."""


def normalize(text: str, keep: str = "") -> NormalizedText:
    """A text in its one way to be written; doing it twice changes nothing more.

    keep: characters that stay, whatever they are: those that a model was trained on.
    """
    changes: Counter[str] = Counter()
    there = set(text)
    for name, characters, pattern, replacement in RULES:
        if not there.isdisjoint(set(characters) - set(keep)):
            stays = f"(?![{re.escape(kept)}])" if (kept := "".join(set(characters) & set(keep))) else ""
            text, count = re.subn(stays + pattern, replacement, text)
            changes.update({name: count} if count else {})
    composed = unicodedata.normalize("NFC", text)
    if composed != text:
        # Letters that are there now and were not before; where marks only changed places there is none of them.
        changes[COMPOSED] = max(1, (Counter(composed) - Counter(text)).total())
    return NormalizedText(text=composed, changes=dict(changes))


def known_changes(values: object) -> dict[str, int]:
    """What of a stored value are changes, for a file may hold anything."""
    found = values if isinstance(values, dict) else {}
    return {name: found[name] for name in NAMES if isinstance(found.get(name), int) and found[name] > 0}


def changes_sentence(changes: dict[str, int]) -> str:
    """What `normalize` changed: `1,204 carriage returns and 3 zero-width characters were removed.` Empty for nothing."""
    removed = [(changes[name], name) for name in REMOVED if name in changes]
    parts = [f"{_listed(removed)} removed"] if removed else []
    if BREAK in changes:
        parts.append(f"{_listed([(changes[BREAK], BREAK)])} rewritten")
    if COMPOSED in changes:
        parts.append(f"{_listed([(changes[COMPOSED], COMPOSED)])} written in composed form (NFC)")
    return f"{', '.join(parts)}." if parts else ""


def _listed(counts: list[tuple[int, str]]) -> str:
    """`2 soft hyphens and 1 byte order mark were`."""
    names = [f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in counts]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"{listed} {'was' if len(counts) == 1 and counts[0][0] == 1 else 'were'}"
