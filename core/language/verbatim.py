"""Which passages of a generated text are copied word for word from the training text, and how long they are.

A suffix array of the training text finds, for every position of the generated text, the longest passage from there that
occurs anywhere in the training text. Everything is exact: characters are Unicode code points and are compared as they
are (no case folding; "é" as one code point differs from "e" with an accent after it).
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from core.data.text import code_points

OnProgress = Callable[[float], None]
"""Gets the share done, 0..1, never falling. One that raises cancels the build."""

FIRST_STEP = 16
"""Characters that a match is first tried to grow by; doubled as long as it does."""


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
    """A training text of n characters and its suffix array: 8 bytes a character beside the text. `build` makes one.

    It is never changed, so threads may share it. Suffix array: Manber & Myers 1993; a query walks it backwards as in
    Ferragina & Manzini 2000.
    """

    text: str
    """The training text."""
    order: np.ndarray
    """(n,) int32: where the suffixes of the text start, in lexicographic order of code points."""
    tails: np.ndarray
    """(n,) int32: place in `order` of each suffix less its first character, in the order of `order`; -1 for nothing."""
    alphabet: np.ndarray
    """(k,) uint32: the code points of the text, ascending."""
    blocks: np.ndarray
    """(k + 1,) int64: where in `order` the suffixes that start with each of `alphabet` begin, and n."""

    @classmethod
    def build(cls, text: str, on_progress: OnProgress | None = None) -> TextIndex:
        """Index a text of fewer than 2³¹ characters; an empty one too. Takes up to 48 bytes a character meanwhile."""
        report = on_progress or (lambda share: None)
        report(0.0)
        codes, alphabet, blocks = _codes(text)
        order, place = _sorted_suffixes(codes, len(alphabet), report)
        tails = place[order + 1]  # place has a last entry, -1, for the empty suffix
        report(1.0)
        return cls(text=text, order=order, tails=tails, alphabet=alphabet, blocks=blocks)

    def longest_matches(self, text: str) -> np.ndarray:
        """Length of the longest passage from each position of `text` (N characters) that the training text has.

        (N,) int64, in characters; 0 where the training text lacks the character itself.
        """
        return self._matches(text)[0]

    def passages(self, text: str, least: int = 20) -> list[Passage]:
        """The copied passages of at least `least` characters in `text`, in order, none overlapping another.

        Each is maximal: with one more free character of `text` on either side it occurs nowhere in the training text.
        Where copied passages overlap, the longest keeps all of it (of equally long ones the first), and the others what
        remains of them, if that is still long enough. Raises ValueError where `least` is below 1.
        """
        if least < 1:
            raise ValueError(f"least is {least}: a passage has at least 1 character")
        lengths, sources = self._matches(text)
        # From one position to the next a match loses its first character. Where it loses none, a passage begins that no
        # earlier one contains.
        earlier = np.concatenate([[0], lengths[:-1]])
        starts = np.flatnonzero((lengths >= earlier) & (lengths >= least))
        return _without_overlaps(
            [
                Passage(start=start, length=length, source=source)
                for start, length, source in zip(starts.tolist(), lengths[starts].tolist(), sources[starts].tolist())
            ],
            least,
        )

    def _matches(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """(N,) int64 each: length of the longest match from each position, and where one starts in the training text.

        The second is 0 where a match is only the rest of the one before.
        """
        size, training, length = len(text), self.text, 0
        lengths, sources = np.zeros(size, np.int64), np.zeros(size, np.int64)
        if not size or not training:
            return lengths, sources
        places = self._places(text)
        # The suffixes on either side of where a text would be inserted are those that share most with it.
        before = self.order[np.maximum(places - 1, 0)].tolist()
        after = self.order[np.minimum(places, len(training) - 1)].tolist()
        for start in range(size):
            # What matched one position earlier still does without its first character, so in all a match grows at most
            # `size` times, and one comparison tells whether a neighbour matches for longer.
            length = max(length - 1, 0)
            for candidate in (before[start], after[start]):
                if start + length == size:
                    break
                if training.startswith(text[start : start + length + 1], candidate):
                    length = _grown(training, candidate, text, start, length + 1)
                    sources[start] = candidate
            lengths[start] = length
        return lengths, sources

    def _places(self, text: str) -> np.ndarray:
        """Where in `order` every suffix of `text` (N characters) would be inserted: (N,) int64, 0..n.

        From the last to the first: the suffixes of the training text that start with a character are ordered as their
        tails are, so the place of a suffix follows from that of its own tail.
        """
        points = code_points(text)
        at = np.searchsorted(self.alphabet, points)
        known = self.alphabet[np.minimum(at, len(self.alphabet) - 1)] == points
        lows, highs = self.blocks[at].tolist(), self.blocks[at + known].tolist()
        tails = memoryview(self.tails.data)  # several times faster than an array to take single numbers from
        places, place = np.zeros(len(text), np.int64), 0
        for position in range(len(text) - 1, -1, -1):
            place = bisect_left(tails, place, lows[position], highs[position])
            places[position] = place
        return places


def longest(passages: Iterable[Passage]) -> Passage | None:
    """The longest passage, of equally long ones the first; None where there is none."""
    return max(passages, key=lambda passage: passage.length, default=None)


def _codes(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranks 1..k of the characters of a text, (n,) of the narrowest unsigned type; `alphabet`; `blocks` of TextIndex."""
    points = code_points(text)
    occurs = np.zeros(0x110000, bool)
    occurs[points] = True
    alphabet = np.flatnonzero(occurs).astype(np.uint32)
    codes = np.cumsum(occurs).astype(np.min_scalar_type(len(alphabet)))[points]
    return codes, alphabet, np.cumsum(np.bincount(codes, minlength=len(alphabet) + 1))


def _packed(codes: np.ndarray, kinds: int) -> tuple[np.ndarray, int]:
    """Keys that sort suffixes by their first `width` characters: (n,) uint64, and width, a power of two up to 64.

    Codes (n,) in 1..kinds stand side by side in as few bits as they need, with zeros past the end: a text comes before
    its continuations.
    """
    bits, width, keys = kinds.bit_length(), 1, codes.astype(np.uint64)
    while bits and 2 * width * bits <= 64:
        wider = keys << np.uint64(width * bits)
        wider[:-width] |= keys[width:]
        keys, width = wider, 2 * width
    return keys, width


def _sorted_suffixes(codes: np.ndarray, kinds: int, report: OnProgress) -> tuple[np.ndarray, np.ndarray]:
    """Suffix array of codes (n,) in 1..kinds, and its inverse with -1 appended: (n,) and (n + 1,) int32.

    Prefix doubling: suffixes sorted by their first `width` characters are sorted by twice as many through the places of
    the suffixes `width` further on. The first round takes as many characters as fit 64 bits, and a suffix that stands
    alone takes no part in later ones, so text with few long repeats is done soon. Repeats of any length are sorted to
    their end: at most n log n time a round and log₂(longest repeat) rounds.
    """
    size = len(codes)
    keys, width = _packed(codes, kinds)
    place = np.full(size + 1, -1, np.int32)
    sorting = np.argsort(keys)
    keys, order = keys[sorting], sorting.astype(np.int32)
    del sorting  # like keys, 8 bytes a character
    tied = _rank(keys, order, np.arange(size, dtype=np.int32), place)
    del keys
    while len(tied):
        report(max(1 - len(tied) / size, math.log(width) / math.log(size + width)))
        positions = order[tied]
        keys = place[positions].astype(np.int64)
        keys <<= 32
        # The minimum avoids overflow: past the end is the empty suffix, whose -1 comes first in its group, as it should.
        keys += place[np.minimum(positions, size - width) + width]
        sorting = np.argsort(keys, kind="stable")  # Timsort, quick here: the groups stand in order already
        keys, positions = keys[sorting], positions[sorting]
        del sorting
        order[tied] = positions
        tied = _rank(keys, positions, tied, place)
        del keys
        width *= 2
    return order, place


def _rank(keys: np.ndarray, positions: np.ndarray, slots: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Give suffixes with equal keys the first slot among them, in `place`; return the slots of those, ascending.

    keys (m,) ascending, positions (m,) of the suffixes, slots (m,) int32 ascending; place (n + 1,) is written.
    """
    first = np.ones(len(keys) + 1, bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:-1])
    place[positions] = np.maximum.accumulate(np.where(first[:-1], slots, np.int32(0)))
    return slots[~(first[:-1] & first[1:])]


def _grown(training: str, source: int, text: str, start: int, length: int) -> int:
    """How far `text` from `start` equals `training` from `source`, of which `length` characters are known to."""
    step, growing = FIRST_STEP, True
    while step:
        end = start + length + step
        # Slices are compared by C; a slice past the end would be shorter, and seem to match.
        if end <= len(text) and training.startswith(text[start + length : end], source + length):
            length += step
            step = 2 * step if growing else step // 2
        else:
            step, growing = step // 2, False
    return length


def _without_overlaps(passages: list[Passage], least: int) -> list[Passage]:
    """The longest of the passages first, then what remains of the others, if at least `least` long; in order.

    `passages` are maximal: no two start or end together. So what remains of one is in one piece: only a longer remainder
    is taken before it, and that is never strictly within it.
    """
    waiting = [(-passage.length, passage.start, passage.source) for passage in passages]
    heapq.heapify(waiting)
    taken: dict[int, Passage] = {}
    starts: list[int] = []  # of those taken, ascending
    while waiting:
        shorter, begin, source = heapq.heappop(waiting)
        start, end = begin, begin - shorter
        at = bisect_right(starts, start)
        if at:
            start = max(start, taken[starts[at - 1]].end)
        if at < len(starts):
            end = min(end, starts[at])
        rest = Passage(start=start, length=end - start, source=source + start - begin)
        if rest.length == -shorter:
            taken[start] = rest
            insort(starts, start)
        elif rest.length >= least:
            heapq.heappush(waiting, (-rest.length, rest.start, rest.source))
    return [taken[start] for start in starts]
