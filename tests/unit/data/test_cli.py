"""Photos on the command line: added, checked, deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.data import stored_folders
from core.data.image_cache import cache_folder
from tests.unit.data.test_audit import write_photos
from tests.unit.terminal import answer, refused, run_main


@pytest.fixture(autouse=True)
def own_home(lab_home: Path) -> None:
    """What one test adds is not seen by another."""


def test_a_folder_is_added_checked_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_photos(tmp_path / "d", {"train": 30, "test": 12, "val": 12})
    shutil.copy(root / "train" / "a" / "004.png", root / "test" / "a" / "twin.png")
    (root / "notes.txt").write_text("x")
    added = answer(capsys, "data", "add", str(root), "--title", "Blobs", "--json")
    assert added["title"] == "Blobs"
    assert added["images"] == 109
    assert added["left_out"] == ["1 file left out: not an image."]
    found = answer(capsys, "data", "check", added["name"], "--json")
    assert found["counts"] == {"train": [30, 30], "validation": [12, 12], "test": [13, 12]}
    assert found["findings"][0]["groups"] == [["train/a/004.png", "test/a/twin.png"]]
    _, said, _ = run_main(capsys, "data", "check", added["name"])
    assert "train: 60 images (a 30, b 30)" in said
    assert "train/a/004.png = test/a/twin.png" in said
    answer(capsys, "data", "check", f"{added['name']}?size=64&fit=whole", "--json")
    assert run_main(capsys, "data", "delete", added["name"])[0] == 0
    assert stored_folders() == []
    assert list(cache_folder("").iterdir()) == [], "what was decoded of them too"


def test_an_archive_is_added_and_what_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_photos(tmp_path / "d", {"train": 3})
    archive = shutil.make_archive(str(tmp_path / "pets"), "zip", root)
    assert answer(capsys, "data", "add", archive, "--json")["title"] == "pets"
    (tmp_path / "none.zip").write_bytes(b"no archive")
    assert "not a zip archive" in refused(capsys, "data", "add", str(tmp_path / "none.zip"))
    assert "cannot be read" in refused(capsys, "data", "add", str(tmp_path / "missing.zip"))
    assert "was not uploaded here" in refused(capsys, "data", "delete", str(root))
