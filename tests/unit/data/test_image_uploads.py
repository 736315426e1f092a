"""Uploaded folders and archives: what is stored, what is refused, and what is left out."""

from __future__ import annotations

import errno
import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.common.errors import LabError
from core.data import image_uploads, load_images
from core.data.image_uploads import UploadedFile, delete_stored, leave_out, store_files, store_zip, stored_folders


@pytest.fixture(autouse=True)
def own_home(lab_home: Path) -> None:
    """Uploads of one test are not seen by another."""


def png(*colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (colour[0], colour[1], colour[2])).save(buffer, "PNG")
    return buffer.getvalue()


def photos(number: int = 5) -> dict[str, bytes]:
    return {
        f"{name}/{index}.png": png(index, 50 * label, 3) for label, name in enumerate("ab") for index in range(number)
    }


def packed(content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer


def given(content: dict[str, bytes]) -> list[UploadedFile]:
    return [UploadedFile(name, lambda data=data: io.BytesIO(data)) for name, data in content.items()]  # type: ignore[misc]


def test_an_archive_and_a_folder_become_the_same_dataset() -> None:
    stored = store_zip(packed(photos()), "My photos.zip")
    assert stored.title == "My photos"
    assert stored.images == 10
    assert stored.left_out == ()
    dataset = load_images(stored.name)
    assert dataset.card.title == "My photos"
    assert dataset.card.classes == ("a", "b")
    assert sum(dataset.card.sizes.values()) == 10
    again = store_files(given(photos()), "Another name")
    assert again.path == stored.path, "the same content is kept once"
    assert [entry.title for entry in stored_folders()] == ["My photos"], "and keeps its first name"


def test_what_is_not_stored_is_counted(lab_home: Path) -> None:
    content = photos() | {
        "../outside.png": png(1, 1, 1),
        "/etc/absolute.png": png(2, 1, 1),
        "a/..\\..\\windows.png": png(3, 1, 1),
        "C:/drive.png": png(4, 1, 1),
        "a/bell\x07.png": png(5, 1, 1),
        "a/notes.txt": b"text",
        "a/fake.png": b"no image",
        "a/empty.png": b"",
        "__MACOSX/a/._0.png": png(6, 1, 1),
        "a/.DS_Store": b"x",
        "A/0.PNG": png(7, 1, 1),
    }
    stored = store_zip(packed(content), "x.zip")
    assert stored.images == 10
    assert set(stored.left_out) == {
        "5 files left out: with an unsafe name.",
        "2 files left out: not an image.",
        "1 file left out: empty.",
        "2 files left out: hidden or of the system.",
        "1 file left out: with the name of another.",
    }
    everywhere = set(lab_home.parent.rglob("*.png"))
    assert everywhere == set(stored.path.rglob("*.png")), "nothing was written outside"


def test_a_list_of_labels_is_stored_with_the_images() -> None:
    content = {f"{index}.png": png(index, 0, 0) for index in range(10)}
    rows = "\n".join(["file,label", *(f"{index}.png,{'ab'[index % 2]}" for index in range(10))])
    stored = store_zip(packed(content | {"labels.csv": rows.encode()}), "x")
    assert load_images(stored.name).card.classes == ("a", "b")


def test_an_archive_that_unpacks_to_far_more_is_refused(monkeypatch: pytest.MonkeyPatch, lab_home: Path) -> None:
    monkeypatch.setattr(image_uploads, "MAX_TOTAL_BYTES", 100_000)
    with pytest.raises(LabError, match="unpacked and at most"):
        store_zip(packed(photos() | {"zeros.png": bytes(10**6)}), "bomb")
    assert list((lab_home / "data" / "images").glob("*")) == [] if (lab_home / "data" / "images").exists() else True


def test_sizes_are_counted_and_not_believed(monkeypatch: pytest.MonkeyPatch, lab_home: Path) -> None:
    """The directory of the archive claims ten bytes for what unpacks to a million."""
    monkeypatch.setattr(image_uploads, "MAX_TOTAL_BYTES", 100_000)
    data = bytearray(packed(photos() | {"zeros.png": b"\x89PNG\r\n\x1a\n" + bytes(10**6)}).getvalue())
    size = struct.pack("<I", 10**6 + 8)
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = struct.pack("<I", 10)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.getinfo("zeros.png").file_size == 10
    stored = store_zip(io.BytesIO(data), "liar")  # Python itself reads no more than was claimed, and finds the lie
    assert stored.left_out == ("1 file left out: damaged or unreadable.",)
    assert stored.size_bytes < 100_000
    assert not list((lab_home / "data" / "images").glob(".*")), "nothing half done is left"


def test_ten_thousand_empty_files_are_one_sentence() -> None:
    with pytest.raises(LabError, match="holds no image"):
        store_files(given({f"{index}.png": b"" for index in range(10_000)}), "Empty")


def test_a_list_of_files_that_would_fill_the_memory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says of their number: zipfile goes by the length."""
    archive = packed(photos())
    monkeypatch.setattr(image_uploads, "MAX_DIRECTORY_BYTES", 300)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(LabError, match="lists far more files"):
        store_zip(archive, "many.zip")


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_uploads, "MAX_FILES", 4)
    with pytest.raises(LabError, match="at most 4 images"):
        store_zip(packed(photos()), "many")
    with pytest.raises(LabError, match="more than 4 images"):
        store_files(given(dict(list(photos().items())[:6])), "many")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_archive_is_one_sentence(data: bytes) -> None:
    with pytest.raises(LabError, match="not a zip archive that can be read"):
        store_zip(io.BytesIO(data), "x.zip")


def test_names_that_no_disk_takes_cost_only_their_files() -> None:
    content = photos() | {
        "a/" + "猫" * 86 + ".png": png(1, 1, 1),
        "c.png": png(2, 1, 1),
        "c.png/below.png": png(3, 1, 1),
        "d/e.png": png(4, 1, 1),
        "d": png(5, 1, 1),
    }
    stored = store_zip(packed(content), "x")
    assert stored.images == 12
    assert stored.left_out == (
        "1 file left out: with an unsafe name.",
        "2 files left out: with the name of another.",
    )
    long = photos() | {"a/" + "猫" * 80 + ".png": png(1, 1, 1)}
    assert store_zip(packed(long), "x").left_out == ()


def test_the_same_photos_stored_at_once_are_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second upload of the same content ends between the look whether it is there and the move."""
    replace = os.replace

    def slow(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        store_zip(packed(photos()), "faster")
        replace(source, target)

    monkeypatch.setattr(os, "replace", slow)
    stored = store_zip(packed(photos()), "slower")
    assert [entry.path for entry in stored_folders()] == [stored.path]
    assert len(list(stored.path.parent.iterdir())) == 2, "the folder and its note"


def test_a_file_that_cannot_be_read_costs_only_itself() -> None:
    def refuse() -> io.BytesIO:
        raise PermissionError(errno.EACCES, "Permission denied")

    stored = store_files([*given(photos()), UploadedFile("a/mine.png", refuse)], "x")
    assert stored.left_out == ("1 file left out: damaged or unreadable.",)


def test_a_name_in_another_encoding_than_claimed_is_one_sentence() -> None:
    data = packed(photos() | {"ä.png": png(1, 1, 1)}).getvalue()
    with pytest.raises(LabError, match="not a zip archive that can be read"):
        store_zip(io.BytesIO(data.replace("ä".encode(), b"\xff\xff")), "x")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_costs_only_itself(method: int) -> None:
    archive = packed(photos() | {"a/bad.png": np.random.default_rng(0).bytes(5000)}, method)
    data = bytearray(archive.getvalue())
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        at = opened.getinfo("a/bad.png").header_offset + 60
    data[at : at + 50] = bytes(50)
    stored = store_zip(io.BytesIO(data), "x")
    assert stored.images == 10
    assert stored.left_out == ("1 file left out: damaged or unreadable.",)


def test_an_encrypted_archive_is_called_that() -> None:
    data = bytearray(packed(photos()).getvalue())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    with pytest.raises(LabError, match="encrypted"):
        store_zip(io.BytesIO(data), "x")


def test_only_what_was_uploaded_can_be_deleted(tmp_path: Path) -> None:
    stored = store_zip(packed(photos()), "x")
    with pytest.raises(LabError, match="was not uploaded here"):
        delete_stored(tmp_path)
    with pytest.raises(LabError, match="was not uploaded here"):
        delete_stored(stored.path.parent)
    delete_stored(stored.path)
    assert stored_folders() == []
    assert not stored.path.exists()


def test_what_was_left_out_is_back_when_the_same_photos_are_given_again() -> None:
    given = {f"a/{index}.png": png(index, 0, 0) for index in range(3)}
    stored = store_zip(packed(given), "pets.zip")
    mine = stored.path.parent.parent / "mine.png"
    mine.write_bytes(png(9, 9, 9))
    assert leave_out(stored.path, ["a/1.png", "a/none.png", "../../mine.png", str(mine)], "copies") == 1
    assert mine.is_file()
    [reduced] = stored_folders()
    assert (reduced.images, reduced.left_out) == (2, ("1 file left out: copies.",))
    assert not (stored.path / "a" / "1.png").exists()
    again = store_zip(packed(given), "pets.zip")
    assert (again.images, again.left_out, (again.path / "a" / "1.png").is_file()) == (3, (), True)
    with pytest.raises(LabError, match="was not uploaded here"):
        leave_out(Path("/tmp"), [], "copies")


def test_a_title_is_one_short_printable_line() -> None:
    stored = store_zip(packed(photos()), "C:\\me\\<b>x\x00\n" + "y" * 500 + ".ZIP")
    assert stored.title.isprintable()
    assert len(stored.title) <= 60
