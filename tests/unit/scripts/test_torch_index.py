"""Which PyTorch is installed: the CPU build where there is no GPU and its index answers, tried with pip on a local index."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts import torch_index
from tests.browser.lab import free_port

pytestmark = pytest.mark.slow

VERSION = "2.15.0"


def write_wheel(folder: Path, version: str) -> Path:
    """An empty package called torch that pip accepts."""
    folder.mkdir(parents=True)
    path = folder / f"torch-{version}-py3-none-any.whl"
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("torch.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A package index of two: `simple`, as PyPI is, and `cpu`, as PyTorch's own is."""
    write_wheel(tmp_path / "simple" / "torch", VERSION)
    write_wheel(tmp_path / "cpu" / "torch", f"{VERSION}+cpu")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def constraints(tmp_path: Path) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text(f"torch=={VERSION}\n")
    return path


@pytest.fixture(autouse=True)
def _linux_without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_index.platform, "system", lambda: "Linux")
    monkeypatch.setattr(torch_index, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(torch_index, "installed_version", lambda: "")


def test_what_is_installed_already_stays(server: str, constraints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_index, "installed_version", lambda: f"{VERSION}+cu130")
    flags, sentence = torch_index.choose(f"{server}/cpu", constraints)
    assert flags == []
    assert "already" in sentence


def test_pip_takes_the_cpu_build(server: str, constraints: Path, tmp_path: Path) -> None:
    flags, sentence = torch_index.choose(f"{server}/cpu", constraints)
    assert "for the CPU" in sentence
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "torch", "--no-deps", "--quiet", "-c", str(constraints)),
            *("--index-url", f"{server}/simple", *flags, "--dest", str(tmp_path / "got")),
        ],
        env=environment | {"PIP_CONFIG_FILE": os.devnull},
        check=True,
        timeout=60,
    )
    assert [path.name for path in (tmp_path / "got").iterdir()] == [f"torch-{VERSION}+cpu-py3-none-any.whl"]


def test_an_index_without_this_version_is_not_used(server: str, constraints: Path) -> None:
    constraints.write_text("torch==2.14.0\n")
    flags, sentence = torch_index.choose(f"{server}/cpu", constraints)
    assert flags == []
    assert "standard build" in sentence


def test_an_index_that_does_not_answer_is_not_used(constraints: Path) -> None:
    assert torch_index.choose(f"http://127.0.0.1:{free_port()}/cpu", constraints)[0] == []


def test_an_index_that_is_too_slow_is_not_used(constraints: Path) -> None:
    release = threading.Event()

    class Slow(QuietHandler):
        def do_GET(self) -> None:
            release.wait(30)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        flags, _ = torch_index.choose(f"http://127.0.0.1:{httpd.server_port}/cpu", constraints, limit_s=0.2)
    finally:
        release.set()
        httpd.shutdown()
        httpd.server_close()
    assert flags == []


@pytest.mark.parametrize(("system", "gpu", "word"), [("Linux", True, "CUDA"), ("Darwin", False, "standard")])
def test_elsewhere_the_index_is_not_asked(
    system: str, gpu: bool, word: str, server: str, constraints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_index.platform, "system", lambda: system)
    monkeypatch.setattr(torch_index, "has_nvidia_gpu", lambda: gpu)
    flags, sentence = torch_index.choose(f"{server}/cpu", constraints)
    assert flags == []
    assert word in sentence


def test_the_version_is_the_one_that_is_pinned() -> None:
    root = Path(__file__).resolve().parents[3]
    assert torch_index.pinned_version(root / "constraints.txt").count(".") == 2
