"""One way to write a text: what is changed and counted, what stays, and that texts that are clean stay as they are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.checkpoints.store import list_checkpoints
from core.data.normalize import changes_sentence, known_changes, normalize
from tests.tiny_text import play


@pytest.mark.parametrize(
    ("text", "clean", "changes"),
    [
        ("a\r\nb\r\n", "a\nb\n", {"carriage return": 2}),
        ("a\rb\x0cc\x85d\u2028e", "a\nb\nc\nd\ne", {"unusual line break": 4}),
        ("\ufeffa\ufeffb", "ab", {"byte order mark": 2}),
        ("a\u200bb\u2060c", "abc", {"zero-width character": 2}),
        ("a\u200db\u200cc", "abc", {"zero-width character": 2}),
        ("Donau\xaddampf", "Donaudampf", {"soft hyphen": 1}),
        ("a\x00\x1b\x7f\x9bb\tc", "ab\tc", {"control character": 4}),
        ("Cafe\u0301 nai\u0308ve", "Café naïve", {"character": 2}),
        ("5 \u212b", "5 Å", {"character": 1}),
        ("e\u200b\u0301", "é", {"zero-width character": 1, "character": 1}),
        ("a\u0301\u0323", "ạ́", {"character": 1}),
    ],
)
def test_what_is_changed_is_counted(text: str, clean: str, changes: dict[str, int]) -> None:
    found = normalize(text)
    assert found.text == unicodedata.normalize("NFC", clean)
    assert found.changes == changes


@pytest.mark.parametrize(
    "text",
    [
        *("می\u200cخواهم", "क्\u200dष", "ශ්\u200dරී", "👩\u200d👩\u200d👧", "❤\ufe0f\u200d🔥", "🏳\ufe0f\u200d🌈"),
        *("non\u00a0breaking", "a\tb\n", "שלום \u200fעולם", "ﬁ ½ Ａ"),
    ],
)
def test_what_a_script_needs_stays(text: str) -> None:
    assert normalize(text).text == text
    assert normalize(text).changes == {}


@given(
    st.text(st.characters(codec=None) | st.sampled_from("\r\n\u200b\u200c\u200d\ufeffe\u0301می👩\xad\x00"), max_size=60)
)
def test_twice_is_once(text: str) -> None:
    once = normalize(text)
    assert normalize(once.text).text == once.text
    assert normalize(once.text).changes == {}
    assert (once.changes == {}) == (once.text == text)


def test_characters_that_a_model_knows_stay() -> None:
    assert normalize("a\xadb\u200bc\r\n", keep="\xad\u200b").text == "a\xadb\u200bc\n"


def test_texts_that_ship_with_checkpoints_are_clean() -> None:
    vocabularies = [ref.card.text_data.vocabulary for ref in list_checkpoints(task="text")]
    assert vocabularies
    for vocabulary in (*vocabularies, play(3000)):
        assert normalize(vocabulary).changes == {}


def test_all_changes_are_one_sentence() -> None:
    assert changes_sentence({}) == ""
    assert (
        changes_sentence({"carriage return": 1204, "zero-width character": 3})
        == "1,204 carriage returns and 3 zero-width characters were removed."
    )
    assert changes_sentence({"soft hyphen": 1}) == "1 soft hyphen was removed."
    everything = normalize("\r\n\r\ufeff\u200b\xad\0e\u0301").changes
    assert changes_sentence(everything).count(".") == 1
    assert changes_sentence(everything).count("1 ") == len(everything) == 7


@pytest.mark.parametrize("stored", [None, [], "x", {"soft hyphen": "3"}, {"unknown": 3}, {"soft hyphen": -1}])
def test_what_is_stored_wrongly_is_no_change(stored: object) -> None:
    assert known_changes(stored) == {}
    assert known_changes({"soft hyphen": 2, "x": 1}) == {"soft hyphen": 2}
