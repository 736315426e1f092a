"""Published archives. Each is known by its checksum, and no member is read before that is verified."""

from __future__ import annotations

import hashlib
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from core.common.errors import LabError
from core.common.progress import Meter, Progress

MAX_MEMBERS = 5000
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    filename: str
    size_bytes: int
    sha256: str


def verify_archive(path: Path, archive: Archive, on_progress: Progress | None) -> bool:
    """Whether the file at `path` is that archive, byte for byte."""
    Meter(on_progress, "verify")
    if path.stat().st_size != archive.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == archive.sha256


def read_members(
    path: Path, pattern: str, read: Callable[[str, bytes], T], *, max_bytes: int, on_progress: Progress | None
) -> dict[str, T]:
    """What `read(key, content)` makes of each regular file in a tar.gz whose whole name matches `pattern`, by key.

    The key is the pattern's first group; nothing is written to disk. Raises LabError where the archive cannot be read, a
    member is larger than `max_bytes`, or there are more than MAX_MEMBERS.
    """
    found: dict[str, T] = {}
    meter = Meter(on_progress, "unpack", path.stat().st_size)
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
            for number, member in enumerate(tar):
                if number >= MAX_MEMBERS:
                    raise ValueError("too many members")
                match = re.fullmatch(pattern, member.name)
                if match and member.isfile() and (content := tar.extractfile(member)) is not None:
                    if member.size > max_bytes:
                        raise ValueError("a member is too large")
                    found[match[1]] = read(match[1], content.read())
                meter.update(file.tell())
    except (tarfile.TarError, EOFError, OSError, ValueError, LookupError, TypeError, pickle.UnpicklingError) as error:
        raise LabError(
            f"{path.name} is not laid out as expected ({type(error).__name__}): remove it and try again."
        ) from error
    return found


def read_zip_member(path: Path, name: str, *, max_bytes: int) -> bytes:
    """One member of a zip archive (a wheel is one). Raises LabError where it is missing, damaged or larger than `max_bytes`."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(name).file_size > max_bytes:
                raise ValueError("the member is too large")
            return archive.read(name)
    except (zipfile.BadZipFile, OSError, ValueError, LookupError, NotImplementedError) as error:
        raise LabError(
            f"{path.name} is not laid out as expected ({type(error).__name__}): remove it and try again."
        ) from error
