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

MOST_PLACES = 20_000
"""Of a stretch in the training text that are followed one by one; one that stands in more of them is searched for."""


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
    order: np.ndarray
    """(n - least + 1,) int64: where in the text each of these stands."""
    points: np.ndarray
    """(n,) code points of the text."""

    @classmethod
    def build(cls, text: str, least: int = 20) -> TextIndex:
        """Index a text, which may be empty. Raises ValueError where `least` is below 1."""
        if least < 1:
            raise ValueError(f"least is {least}: a passage has at least 1 character")
        hashes = _hashes(text, least)
        order = np.argsort(hashes, kind="stable")
        return cls(text=text, least=least, hashes=hashes[order], order=order, points=code_points(text))

    def passages(self, text: str) -> list[Passage]:
        """The copied passages in `text`, in order, none overlapping another.

        Each is maximal: with one more free character of `text` on either side it occurs nowhere in the training text.
        Where copied passages overlap, the longest keeps all of it (of equally long ones the first), and the others what
        remains of them, if that is still long enough.
        """
        return _without_overlaps(self._maximal(text), self.least)

    def _maximal(self, text: str) -> list[Passage]:
        """The copied passages that no longer one contains: starts and ends rise from each to the next."""
        hashes, points = _hashes(text, self.least), code_points(text)
        first = np.searchsorted(self.hashes, hashes)
        last = np.searchsorted(self.hashes, hashes, side="right")
        found: list[Passage] = []
        start = end = 0
        while (stop := max(end, start + self.least - 1)) < len(text):
            # The next passage is the first that ends after `stop`, so it holds the stretch that does.
            stretch = stop + 1 - self.least
            places = self.order[first[stretch] : last[stretch]]
            if len(places) > MOST_PLACES:
                start = self._first_start(text, start, stretch)
            else:
                start, places = self._extend_left(points, start, stretch, places)
            if start > stretch:
                continue
            if len(places) > MOST_PLACES:
                source, end = self._longest_from(text, start, stop + 1)
            else:
                source, end = self._extend_right(points, start, stop + 1, places)
            found.append(Passage(start=start, length=end - start, source=source))
        return found

    def _extend_left(self, points: np.ndarray, start: int, stretch: int, places: np.ndarray) -> tuple[int, np.ndarray]:
        """The first start from which the text to the end of the stretch is copied (stretch + 1 for none), and from where.

        places: where the training text has stretches of the same hash.
        """
        for offset in range(self.least):
            places = places[self.points[places + offset] == points[stretch + offset]]
        if not len(places):
            return stretch + 1, places
        while stretch > start:
            before = places[places > 0] - 1
            before = before[self.points[before] == points[stretch - 1]]
            if not len(before):
                break
            stretch, places = stretch - 1, before
        return stretch, places

    def _extend_right(self, points: np.ndarray, start: int, end: int, places: np.ndarray) -> tuple[int, int]:
        """Of passages from `start` that are copied from `places` as far as `end`: where the longest stands, and its end."""
        while end < len(points):
            on = places[places + (end - start) < len(self.points)]
            on = on[self.points[on + (end - start)] == points[end]]
            if not len(on):
                break
            places, end = on, end + 1
        return int(places[0]), end

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
