"""What commands print, and where they may write."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from core.common.errors import LabError
from core.common.output import Bar, check_output
from core.common.paths import write_atomic
from core.common.values import duration


def test_a_bar_is_drawn_on_a_terminal_and_cleared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((40, 20)))
    with Bar() as bar:
        bar.show(0.5, "half " * 20)
    said = capsys.readouterr().err
    assert said.startswith("\r[##########..........] 50% half")
    assert max(map(len, said.split("\r"))) < 40
    assert said.endswith("\r")


def test_durations_read_like_a_clock() -> None:
    assert [duration(value) for value in (None, 5, 65.4, 3725)] == ["", "0:05", "1:05", "1:02:05"]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    own, link, folder = tmp_path / "own.png", tmp_path / "link.png", tmp_path / "sub"
    own.touch()
    link.symlink_to(own)
    (tmp_path / "hard.png").hardlink_to(own)
    folder.mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    assert check_output("--output", str(tmp_path / "NEW.PNG"), (".png",), str(own)) == tmp_path / "NEW.PNG"
    for name, words in (
        ("map.jpg", "must end in .png or .gif"),
        ("none/map.png", "in a folder that is there"),
        ("sub", "in a folder that is there"),
        ("", "in a folder that is there"),
        ("a\0.png", "in a folder that is there"),
        ("pipe.png", "is a device or a pipe"),
        ("own.png", "would be lost"),
        ("link.png", "would be lost"),
        ("hard.png", "would be lost"),
        ("sub/../own.png", "would be lost"),
        ("~nobody/x.png", "--output"),
        ("n" * 300 + ".png", "not the name of a file"),
    ):
        endings = (".png", ".gif") if "." in name else ()
        with pytest.raises(LabError, match="--output") as refused:
            check_output("--output", str(tmp_path / name) if name and name[0] != "~" else name, endings, str(own))
        assert words in str(refused.value)
    folder.chmod(0o500)
    if not os.access(folder, os.W_OK):
        with pytest.raises(LabError, match="not writable"):
            check_output("--output", str(folder / "x.png"))


def test_a_file_is_private_unless_its_mode_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    for name, options in (("private", {}), ("shared", {"mode": 0o666})):
        write_atomic(tmp_path / name, name, **options)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("private", "shared", "usual")]
    assert modes == [0o600, modes[2], modes[2]]
    assert len(list(tmp_path.iterdir())) == 3
