"""Texts: decoding what anyone may upload, tokens, the split, and files of the user's own."""

from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from core.common.errors import LabError
from core.data import (
    TEXT_PREFIX,
    UNKNOWN,
    TextCard,
    TextDataset,
    canonical_name,
    dataset_sizes,
    dataset_state,
    dataset_status,
    encode,
    load_dataset,
    load_images,
    load_text,
    store_upload,
    stored_texts,
    text,
    texts,
)
from tests.tiny_text import play, write_text
from tests.unit.failures import failing, refusal

PLAY = play(2000)


@pytest.fixture(autouse=True)
def own_home(lab_home: Path) -> None:
    """Uploads of one test are not seen by another."""


def build(content: str, title: str = "play") -> TextDataset:
    return text.build(content, name="text:/play.txt", title=title, source="a test", sha256=text.digest(content))


def assert_refused(words: str, content: bytes, title: str = "play.txt") -> None:
    with refusal(words) as caught:
        text.build(text.decode_file(content, title).text, name="text:/x.txt", title=title, source="", sha256="")
    assert ": " in str(caught.value), "what is wrong, and what to do"


@pytest.mark.parametrize("seed", range(5))
def test_tokens_are_places_in_the_vocabulary(seed: int) -> None:
    chance = random.Random(seed)
    alphabet = "".join(map(chr, {*range(32, 127), 10, 0xE9, 0x3B1, 0x4E2D, 0xFFFD, 0x1F600, 0x10FFFF}))
    content = "".join(chance.choice(alphabet) for _ in range(500))
    vocabulary = "".join(sorted(chance.sample(alphabet, 20)))
    tokens = encode(content, vocabulary)
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [vocabulary.find(each) for each in content], "find says -1, which is UNKNOWN"


def test_tokens_of_nothing_of_strangers_and_of_half_characters() -> None:
    assert encode("", "abc").shape == (0,)
    assert encode("", "abc").dtype == np.int64
    assert encode("ab", "").tolist() == [UNKNOWN, UNKNOWN]
    assert encode("a\U0010ffff😀\ud800b", "ab").tolist() == [0, UNKNOWN, UNKNOWN, UNKNOWN, 1]


def test_the_split_is_the_first_nine_tenths_and_nothing_is_lost() -> None:
    dataset = build(PLAY)
    vocabulary = dataset.card.vocabulary
    assert dataset.card.sizes == {"train": 1800, "validation": 200}
    assert (len(dataset.train), len(dataset.validation)) == (1800, 200)
    assert "".join(vocabulary[token] for token in (*dataset.train, *dataset.validation)) == PLAY == dataset.text
    assert dataset.train_text == PLAY[:1800]
    assert vocabulary == "".join(sorted(set(PLAY[:1800])))
    assert dataset.unknown == {}
    assert "not scored" not in dataset.card.split
    assert dataset.card.sha256 == {"text": text.digest(PLAY)}
    for length in (1000, 1001, 1009, 1111, 1999):
        part = build(PLAY[:length])
        assert (len(part.train), len(part.train) + len(part.validation)) == (int(0.9 * length), length)
    content = "Γειά σου, κόσμε! 你好 😀\n" * 60
    world = build(text.decode_file(content.encode(), "world.txt").text)
    assert world.text == content
    assert {"😀", "你", "ά"} <= set(world.card.vocabulary), "a character each"
    assert sum(world.card.sizes.values()) == len(content)
    assert TextCard.from_dict(json.loads(json.dumps(dataset.card.to_dict()))) == dataset.card


def test_characters_of_validation_only_are_unknown_counted_and_told() -> None:
    dataset = build(PLAY[:1800] + "é😀é" + PLAY[:197])
    assert dataset.unknown == {"é": 2, "😀": 1}
    assert dataset.validation[:3].tolist() == [UNKNOWN] * 3
    assert (dataset.validation == UNKNOWN).sum() == 3
    assert UNKNOWN not in dataset.train
    assert not set("é😀") & set(dataset.card.vocabulary)
    assert "(3 of the 200 of validation, 2 different)" in dataset.card.split
    assert "read as a space and are not scored" in dataset.card.split


@pytest.mark.parametrize("ending", ["\r\n", "\r", "\n"])
def test_lines_end_alike_and_a_mark_is_removed(ending: str) -> None:
    data = b"\xef\xbb\xbf" + PLAY.replace("\n", ending).encode()
    assert text.decode_file(data, "play.txt").text == PLAY
    few = PLAY + "\x0c\x1b\x07"  # few enough to be a text, but for them
    assert text.decode_file(few.encode(), "play.txt").text == PLAY + "\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "play.txt is empty"),
        (b"\xef\xbb\xbf \r\n\t", "play.txt holds only characters that cannot be seen"),
        ("\u200b\ufeff\u2060".encode() * 900, "play.txt holds only characters that cannot be seen"),
        (b" \n" * 900, "play.txt is empty"),
        (b"abc", "has 3 characters and at least 1,000 are needed"),
        ("é".encode(), "has 1 character and at least"),
        (b"a" * 999, "has 999 characters"),
        (b"a" * 1000, "repeats one character"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not plain text"),
        (PLAY.encode() + b"\0", "is not plain text"),
        (PLAY.encode() + b"\x1b\x02" * 20, "is not plain text"),
        (PLAY.encode("utf-16"), "looks like UTF-16: save it as UTF-8"),
        (PLAY.encode("utf-16-be"), "looks like UTF-16, big-endian: save it as UTF-8"),
        (PLAY.encode("utf-32"), "looks like UTF-32"),
        (PLAY.encode("utf-16")[:-1], "ends inside a character of UTF-16: copy"),
        (PLAY.encode("utf-16-le")[:-1], "ends inside a character of UTF-16, little-endian: copy"),
        ((PLAY + "\ud800" + PLAY).encode("utf-16", "surrogatepass"), "a lone surrogate. at byte 4,003"),
        (("Où est le café? " * 100).encode("latin-1"), "looks like Windows-1252 or Latin-1"),
        (b"a" * 41 + "é".encode("latin-1") + PLAY.encode(), "its encoding is not certain: save it as UTF-8"),
        (("Où? " * 400).encode() + b"\xff", "has damaged characters .the first at byte 2,001"),
        ("€".encode()[:2], "its encoding is not certain"),
        (PLAY.encode() + b"\xed\xa0\x80", "a lone surrogate. at byte 2,001"),
        (bytes(range(256)) * 78_125, "is not plain text"),
        (b"a" * 20_000_001, "larger than 20 MB"),
    ],
)
def test_what_is_no_text_is_one_sentence(content: bytes, words: str) -> None:
    assert_refused(words, content)


def test_the_vocabulary_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 12_000)))
    assert_refused("10,800 different characters and at most 10,000", many.encode())
    assert len(build(many[:11_000]).card.vocabulary) == 9_900


def test_any_bytes_are_a_text_or_one_sentence() -> None:
    refused = []
    for seed in range(300):
        chance = random.Random(seed)
        data = bytearray(PLAY.encode() if seed % 2 else chance.randbytes(1200))
        for _ in range(seed % 5):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            build(text.decode_file(bytes(data), "x").text)
        except LabError as error:
            refused.append(str(error))
    assert 150 <= len(refused) < 300
    assert not any("\n" in sentence for sentence in refused)


HOSTILE = [
    "../../../etc/passwd",
    "/etc/passwd\0.txt",
    "a\nb\r\nc\x1b[31m\u202egpj.exe",
    '"}, "title": "x',
    "\ud800 half",
    "x" * 1_000_000,
    " \n\t ",
    "",
]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles_are_harmless(title: str, lab_home: Path) -> None:
    name = store_upload(PLAY.encode(), title)
    written = sorted(path.relative_to(lab_home) for path in lab_home.rglob("*") if path.is_file())
    stem = text.digest(PLAY)[:16]
    assert [str(path) for path in written] == [f"data/texts/{stem}.json", f"data/texts/{stem}.txt"]
    shown = load_text(name).card.title
    assert shown
    assert shown.isprintable()
    assert len(shown) <= 100
    assert [source.title for source in stored_texts()] == [shown]
    for content in (b"", b"abc", b"\0"):
        assert_refused(".", content, title)


def test_an_upload_is_a_dataset_with_its_title() -> None:
    name = store_upload(b"\xef\xbb\xbf" + PLAY.replace("\n", "\r\n").encode(), "  My   play ")
    assert name == f"{TEXT_PREFIX}{texts.folder() / text.digest(PLAY)[:16]}.txt"
    dataset = load_text(name)
    assert dataset.text == PLAY
    assert dataset.card.title == "My play"
    assert dataset.card.name == name == canonical_name(name)
    assert [(source.name, source.title, source.task) for source in stored_texts()] == [(name, "My play", "text")]
    path = Path(name.removeprefix(TEXT_PREFIX))
    path.write_bytes(b"damaged")
    store_upload(PLAY.encode(), "play")
    assert path.read_text() == PLAY, "mended by uploading it again"


def test_an_upload_remembers_what_was_changed() -> None:
    name = store_upload(("\ufeff" + PLAY.replace("\n", "\r\n")).encode("utf-16"), "play", "utf-16")
    assert load_text(name).text == PLAY
    assert load_text(name).changes == {"carriage return": PLAY.count("\n"), "byte order mark": 1}


def test_a_text_that_was_stored_before_texts_were_normalized_stays_as_it_is() -> None:
    old = "Cafe\u0301\u200b " * 200
    path = texts.folder() / f"{text.digest(old)[:16]}.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(old.encode())
    dataset = load_text(f"{TEXT_PREFIX}{path}")
    assert dataset.text == old
    assert dataset.card.sha256 == {"text": text.digest(old)}
    assert dataset_sizes(dataset.card.name) == dataset.card.sizes
    elsewhere = path.parent.parent / path.name
    elsewhere.write_bytes(old.encode())
    assert load_text(f"{TEXT_PREFIX}{elsewhere}").text == "Café " * 200


def test_what_cannot_be_a_dataset_is_not_stored() -> None:
    for content in (b"", b"abc", b"\0" * 5000, b"a" * 5000, PLAY.encode("utf-16")):
        with pytest.raises(LabError):
            store_upload(content, "play.txt")
    assert not texts.folder().exists()
    assert stored_texts() == []


def test_uploads_are_listed_newest_first_and_once() -> None:
    names = [store_upload(play(1500, seed).encode(), f"play {seed}") for seed in range(3)]
    for age, name in enumerate(names):
        note = Path(name.removeprefix(TEXT_PREFIX)).with_suffix(".json")
        os.utime(note, ns=(age * 10**9, age * 10**9))
    assert [source.title for source in stored_texts()] == ["play 2", "play 1", "play 0"]
    before = dataset_state(names[0])
    assert store_upload(play(1500, 0).encode(), "again") == names[0]
    assert [source.title for source in stored_texts()] == ["again", "play 2", "play 1"]
    assert dataset_state(names[0]) == before, "the same text is not read again"
    (texts.folder() / "notes.txt").write_text("not an upload")
    assert len(stored_texts()) == 3


@pytest.mark.parametrize("note", [b"", b"[]", b'{"title": 7}', b"\xff", b"[" * 9000, None])
def test_an_upload_without_a_usable_note_has_its_file_name(note: bytes | None) -> None:
    path = Path(store_upload(PLAY.encode(), "play").removeprefix(TEXT_PREFIX))
    path.with_suffix(".json").unlink()
    if note is not None:
        path.with_suffix(".json").write_bytes(note)
    assert [source.title for source in stored_texts()] == [path.name]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(LabError, match="is full"):
        store_upload(PLAY.encode(), "play")
    assert list(texts.folder().iterdir()) == []


def test_a_file_of_ones_own_is_a_dataset(tmp_path: Path) -> None:
    path = write_text(tmp_path / "my texts", 3000)
    (path.with_suffix(".json")).write_text('{"title": "only uploads have notes"}')
    name = f"text:{path}"
    dataset = load_text(name)
    assert dataset.card.name == name
    assert dataset.card.title == path.name
    assert str(path) in dataset.card.source
    assert dataset.card.sizes == {"train": 2700, "validation": 300}
    status = dataset_status(name)
    assert status.ready
    assert status.size_bytes == 0
    assert status.folder == path.parent
    assert path.name in status.sentence


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write_text(tmp_path, 3000)
    name, states = f"text:{path}", set()
    for content, stamp in ((play(3000), 1), (play(3000), 2), (play(3001), 2), (play(3001, seed=1), 2)):
        new = tmp_path / "new"
        new.write_text(content)
        os.utime(new, ns=(stamp, stamp))
        os.replace(new, path)
        assert load_text(name).text == content
        states.add(dataset_state(name))
    assert len(states) == 4, "replaced by another of the same size and time too"


def test_its_sizes_are_characters_and_known_without_loading(tmp_path: Path) -> None:
    path = tmp_path / "verse.txt"
    for count in (500, 600):
        path.write_bytes(("\ufeff" + "Größe\r\n" * count).encode())
        assert dataset_sizes(f"text:{path}") == load_text(f"text:{path}").card.sizes
    path.write_bytes(b"\0" * 2000)
    with pytest.raises(LabError, match="not plain text"):
        dataset_sizes(f"text:{path}")


@pytest.mark.parametrize("suffix", [".txt", ".TXT"])
def test_the_path_of_a_text_file_is_enough(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text(tmp_path).rename(tmp_path / f"book{suffix}")
    monkeypatch.chdir(tmp_path)
    for name in (str(path), path.name, f"text:{path.name}", f"text:./{path.name}", f"text: {path} "):
        assert canonical_name(name) == f"text:{path}"
        assert load_text(name).card.name == f"text:{path}"
    path.rename(tmp_path / "book.md")
    for name in (str(path), str(tmp_path / "book.md")):
        with pytest.raises(LabError, match=r"no dataset named .*tiny_shakespeare.*folder:<path>.*text:<path>"):
            canonical_name(name)
    assert load_text(f"text:{tmp_path}/book.md").card.title == "book.md"


@pytest.mark.parametrize(
    "name",
    [
        "text:",
        "text:  ",
        "text:/nowhere.txt",
        "text:a\0b",
        "text:" + "x" * 5000,
        "text:" + "x" * 300,
        "text:/dev/null",
        "text:/tmp",
        "text:/tmp/a\nb.txt",
        "text:\ud800.txt",
        "text:~nobody-here/x.txt",
        "x" * 300 + ".txt",
        "\0.txt",
        "folder:",
        "folder:   ",
        "folder:/nowhere/at/all",
        "folder:a\0b",
        "folder:" + "x" * 5000,
        f"folder:{__file__}",
    ],
)
def test_names_that_lead_nowhere_are_one_sentence(name: str) -> None:
    for act in (load_dataset, dataset_status, dataset_state, canonical_name):
        with refusal() as caught:
            act(name)
        str(caught.value).encode()


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text(tmp_path)
    name = f"text:{path}"
    for method in ("open", "stat"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, failing(errno.EACCES))
            with pytest.raises(LabError, match="permissions"):
                load_text(name)


def test_each_kind_of_dataset_is_refused_where_the_other_is_needed(tmp_path: Path, tiny_dataset_folder: Path) -> None:
    path = write_text(tmp_path)
    for name in (f"text:{path}", "tiny_shakespeare", "shakespeare_complete"):
        with pytest.raises(LabError, match=r"is a text and images are needed here: choose cifar10, or folder:<path>\."):
            load_images(name)
    for name in ("cifar10", f"folder:{tiny_dataset_folder}"):
        with pytest.raises(
            LabError, match=r"holds images and a text is needed here: choose tiny_shakespeare or .*text:"
        ):
            load_text(name)
    assert len(load_images(f"folder:{tiny_dataset_folder}").train) == 162
    assert isinstance(load_dataset(f"text:{path}"), TextDataset)


def test_the_play_is_the_same_everywhere() -> None:
    assert text.digest(play(20_000)) == "920216841f4508acd07d254c64995748b21430568bcdc606d07cfe7a6eff7143"
    assert len(play(20_000)) == 20_000
    assert play(20_000, seed=1) != play(20_000)
    assert play(20_000).startswith(play(5000))
    dataset = build(play(20_000))
    assert dataset.unknown == {}
