"""Which passages of a generated text are copied word for word from the training text, and how long they are.

Every stretch of `least` characters of the training text is hashed once. A passage starts where the hash of the generated
text's stretch is among those; from there it is looked up in the training text itself, character by character, so that
everything is exact. Characters are Unicode code points and are compared as they are (no case folding; "é" as one code point
differs from "e" with an accent after it).
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.data.text import code_points

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Of the polynomial hash, modulo 2⁶⁴. Equal hashes of unequal stretches cost a look-up and change no result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A copied passage: `text[start : start + length] == training[source : source + length]`."""

    start: int
    """Where it starts in the generated text, in characters."""
    length: int
    """How long it is, in characters."""
    source: int
    """Where one of its occurrences starts in the training text, in characters."""

    @property
    def end(self) -> int:
        """Where it ends in the generated text, in characters: the first one after it."""
        return self.start + self.length


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextIndex:
    """A training text and the hashes of its stretches: 8 bytes a character beside the text. `build` makes one.

    It is never changed, so threads may share it.
    """

    text: str
    """The training text."""
    least: int
    """How long a copied passage is at least, in characters."""
    hashes: np.ndarray
    """(n - least + 1,) uint64, ascending: of the stretches of `least` characters."""

    @classmethod
    def build(cls, text: str, least: int = 20) -> TextIndex:
        """Index a text, which may be empty. Raises ValueError where `least` is below 1."""
        if least < 1:
            raise ValueError(f"least is {least}: a passage has at least 1 character")
        return cls(text=text, least=least, hashes=np.sort(_hashes(text, least)))

    def passages(self, text: str) -> list[Passage]:
        """The copied passages in `text`, in order, none overlapping another.

        Each is maximal: with one more free character of `text` on either side it occurs nowhere in the training text.
        Where copied passages overlap, the longest keeps all of it (of equally long ones the first), and the others what
        remains of them, if that is still long enough.
        """
        return _without_overlaps(self._maximal(text), self.least)

    def _maximal(self, text: str) -> list[Passage]:
        """The copied passages that no longer one contains: starts and ends rise from each to the next."""
        hashes = _hashes(text, self.least)
        known = np.searchsorted(self.hashes, hashes) < np.searchsorted(self.hashes, hashes, side="right")
        found: list[Passage] = []
        start = end = 0
        while (stop := max(end, start + self.least - 1)) < len(text):
            # The next passage is the first that ends after `stop`, so it holds the stretch that does.
            stretch = stop + 1 - self.least
            if known[stretch]:
                start = self._first_start(text, start, stretch)
            if not known[stretch] or start > stretch:
                start = stretch + 1
                continue
            source, end = self._longest_from(text, start, stop + 1)
            found.append(Passage(start=start, length=end - start, source=source))
        return found

    def _first_start(self, text: str, start: int, stretch: int) -> int:
        """The first start from which `text` to the end of the stretch at `stretch` is copied; stretch + 1 for none."""
        starts = range(start, stretch + 1)  # what is copied from one is copied from all later ones
        return start + bisect_left(starts, True, key=lambda at: text[at : stretch + self.least] in self.text)

    def _longest_from(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Where the longest passage from `start`, of which all before `end` is copied, stands in the training text; its end."""
        source = at = self.text.find(text[start:end])
        while at >= 0:
            source = at
            while end < len(text) and self.text.startswith(text[end], source + end - start):
                end += 1
            # Occurrences of a longer passage are among those of the shorter one: the search goes on from here.
            at = self.text.find(text[start : end + 1], source) if end < len(text) else -1
        return source, end


def longest(passages: Iterable[Passage]) -> Passage | None:
    """The longest passage, of equally long ones the first; None where there is none."""
    return max(passages, key=lambda passage: passage.length, default=None)


def _hashes(text: str, length: int) -> np.ndarray:
    """(n - length + 1,) uint64: the hash of the stretch of `length` characters from each position of n characters."""
    points = code_points(text)
    count = max(len(points) - length + 1, 0)
    hashes = np.zeros(count, np.uint64)
    for offset in range(length):
        hashes *= MULTIPLIER
        hashes += points[offset : offset + count]
    return hashes


def _without_overlaps(passages: list[Passage], least: int) -> list[Passage]:
    """The longest of the passages, then the longest of what remains of the others, and so on; in order."""
    taken: list[Passage] = []
    while (best := longest(passages)) is not None:
        taken.append(best)
        rests = (_remainder(passage, best) for passage in passages)
        passages = [rest for rest in rests if rest.length >= least]
    return sorted(taken, key=lambda passage: passage.start)


def _remainder(passage: Passage, taken: Passage) -> Passage:
    """What remains of a passage beside one that is at least as long: one piece, of length 0 or less where nothing does."""
    if passage.end <= taken.start or passage.start >= taken.end:
        return passage
    if passage.start < taken.start:
        return dataclasses.replace(passage, length=taken.start - passage.start)
    cut = taken.end - passage.start
    return Passage(start=taken.end, length=passage.length - cut, source=passage.source + cut)
