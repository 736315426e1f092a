"""Copied passages: what the index finds is what looking everywhere would find."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.language import verbatim
from core.language.verbatim import Passage, TextIndex, longest

HARD = "ab\u0301é中😀👩\u200d\n\0\ud83d"
"""Accents as one code point and as two, characters beyond 16 bits, a joiner, a zero and half of a surrogate pair."""

SMALL = st.text(alphabet="ab", max_size=40)
PERIODIC = st.builds(
    lambda unit, times, rest: unit * times + rest, st.text("abc", max_size=5), st.integers(0, 30), SMALL
)
TEXTS = st.one_of(
    SMALL, st.text(alphabet="abcd", max_size=80), PERIODIC, st.text(alphabet=HARD, max_size=40), st.text()
)


def passages_by_looking(training: str, text: str, least: int) -> list[tuple[int, int]]:
    """(start, length) of the longest copied passage of free text, the first of equally long ones, again and again."""
    free = [True] * len(text)
    found: list[tuple[int, int]] = []
    while True:
        best = (0, 0)
        for start in range(len(text)):
            end = start
            while end < len(text) and free[end] and text[start : end + 1] in training:
                end += 1
            best = max(best, (end - start, -start))
        length, start = best[0], -best[1]
        if length < least:
            return sorted(found)
        free[start : start + length] = [False] * length
        found.append((start, length))


def check_passages(training: str, text: str, least: int, found: list[Passage]) -> None:
    """Every passage occurs at its source, and none could have one more free character on either side."""
    free = np.ones(len(text) + 2, bool)  # one more on both sides, which are no text
    free[[0, -1]] = False
    for passage in found:
        assert passage.length >= least
        assert free[passage.start + 1 : passage.end + 1].all()
        free[passage.start + 1 : passage.end + 1] = False
    assert [passage.start for passage in found] == sorted(passage.start for passage in found)
    for passage in found:
        copied_text = text[passage.start : passage.end]
        assert len(copied_text) == passage.length
        assert training[passage.source : passage.source + passage.length] == copied_text
        assert not free[passage.start] or text[passage.start - 1 : passage.end] not in training
        assert not free[passage.end + 1] or text[passage.start : passage.end + 1] not in training


def check(training: str, text: str, least: int) -> None:
    found = TextIndex.build(training, least).passages(text)
    assert [(passage.start, passage.length) for passage in found] == passages_by_looking(training, text, least)
    check_passages(training, text, least, found)


@settings(deadline=None, max_examples=150)
@given(TEXTS, TEXTS, st.integers(1, 6))
@example("", "", 1)
@example("", "abc", 1)
@example("abc", "", 1)
@example("a", "a", 1)
@example("abc", "xyz", 1)
@example("abc", "abcabcabcabcabc", 2)
def test_finds_what_looking_everywhere_finds(training: str, text: str, least: int) -> None:
    check(training, text, least)


@settings(deadline=None, max_examples=80)
@given(st.data(), TEXTS, st.integers(1, 6))
def test_finds_pieces_put_together(data: st.DataObject, training: str, least: int) -> None:
    spans = data.draw(st.lists(st.tuples(st.integers(0, len(training)), st.integers(0, 30)), max_size=4))
    check(training, "".join(training[start : start + length] for start, length in spans), least)


@pytest.mark.parametrize("most", [0, 20_000])
@pytest.mark.parametrize("unit", ["a", "ab", "abaab", "😀", "e\u0301"])
def test_repeated_text(unit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """most: 0 searches for every stretch, as for one that stands in very many places."""
    monkeypatch.setattr(verbatim, "MOST_PLACES", most)
    training = unit * (600 // len(unit))
    middle = len(unit) * 30
    check(training, training[:middle] + "!" + training[:middle], 20)


def test_the_longest_of_overlapping_passages_is_kept_whole() -> None:
    text = "To be, or not to be: that is the question. " * 20
    assert TextIndex.build(text).passages(text) == [Passage(start=0, length=len(text), source=0)]
    training = "abcdefgh|fghijkl|klmn"
    assert TextIndex.build(training, 2).passages("abcdefghijklmn") == [
        Passage(start=0, length=8, source=0),
        Passage(start=8, length=4, source=12),
        Passage(start=12, length=2, source=19),
    ]
    assert [passage.length for passage in TextIndex.build(training, 3).passages("abcdefghijklmn")] == [8, 4]


def test_characters_are_code_points() -> None:
    index = TextIndex.build("cafe\u0301 👩\u200d🚀", 1)
    assert [(passage.start, passage.length) for passage in index.passages("café")] == [(0, 3)]
    assert [(passage.start, passage.length) for passage in index.passages("👩\u200d🚀")] == [(0, 3)]
    assert index.passages("🚁") == []  # shares its first half with 🚀 in UTF-16


@pytest.mark.parametrize("multiplier", [0, 1])
def test_stretches_with_the_same_hash_are_told_apart(multiplier: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """0: the hash is the last character; 1: the sum of all."""
    monkeypatch.setattr(verbatim, "MULTIPLIER", np.uint64(multiplier))
    check("abcd" * 9 + "dcba" * 9, "dabcdbacabcdabcddcbaabcdcbadcba" * 2, 4)


def test_passages_shorter_than_least_are_left_out() -> None:
    index = TextIndex.build("x" * 20 + "y")
    assert index.passages("x" * 19) == []
    assert [passage.length for passage in index.passages("x" * 20)] == [20]
    with pytest.raises(ValueError, match="least is 0"):
        TextIndex.build("x", 0)


def test_longest_takes_the_first_of_equals() -> None:
    passages = [Passage(start=start, length=length, source=0) for start, length in [(0, 3), (5, 9), (20, 9)]]
    assert longest(passages) == passages[1]
    assert longest([]) is None


@pytest.mark.parametrize("kind", ["one character", "Fibonacci", "verse"])
def test_a_large_text_is_quick(kind: str) -> None:
    """With a quadratic algorithm it would take hours."""
    rng = random.Random(0)
    size = 300_000
    if kind == "one character":
        training = "a" * size
        text = "a" * 5000 + "b" + "a" * 4999
    elif kind == "Fibonacci":
        last, training = "a", "ab"
        while len(training) < size:
            last, training = training, training + last
        text = training[1234:11_234]
    else:
        words = ["".join(rng.choices("abcdefghij", k=rng.randint(1, 9))) for _ in range(2000)]
        training = " ".join(rng.choices(words, k=size // 6))
        text = "".join(training[at : at + rng.randint(1, 60)] for at in (rng.randrange(size // 2) for _ in range(300)))
    found = TextIndex.build(training).passages(text)
    check_passages(training, text, 20, found)
    assert found


@pytest.mark.slow
def test_torch_is_not_loaded() -> None:
    script = "import sys, core.language.verbatim; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
