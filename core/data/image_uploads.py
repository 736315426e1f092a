"""Folders of images that were uploaded: stored under `lab_home()/data/images`, listed, and deleted.

Each is a folder named by the start of a checksum of its content; beside it a .json says what it was called and what was left
out. What comes in is hostile: names are rebuilt from their parts, only files whose bytes are an image's or that are lists of
images are written, and sizes are counted while reading, not believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import lzma
import os
import re
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from core.common.access import check_writable
from core.common.errors import LabError
from core.common.paths import lab_home, write_atomic
from core.common.progress import Meter, Progress
from core.common.values import one_line
from core.data.decode import MAX_BYTES, image_format
from core.data.layout import is_junk
from core.data.storage import read_note, readable_disk_errors, temporary_folder

MAX_TOTAL_BYTES = 1_000_000_000
"""Of all files together, unpacked."""
MAX_FILES = 100_000
MAX_DIRECTORY_BYTES = 2 * MAX_FILES * 300
"""Of an archive's list of files: 46 bytes for each, and its name."""
MAX_LIST_BYTES = 50_000_000
MAX_NAME_BYTES = 255
"""Of a file or folder, as most disks take it."""
MAX_PARTS = 12
UNREADABLE = (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What zipfile raises for damaged bytes, by the way they are packed, and the disk for a file."""
LISTS = (".csv", ".json")
"""Endings of files that may say which class an image has."""
MAX_NOTE_BYTES = 100_000
ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFolder:
    name: str
    """Of the dataset: `folder:<path>`."""
    title: str
    path: Path
    images: int
    size_bytes: int
    left_out: tuple[str, ...]
    """What was not stored, with counts, each a sentence."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file of an upload."""

    name: str
    """Its path in the folder or archive, as it came."""
    open: Callable[[], IO[bytes]]


def folder() -> Path:
    return lab_home() / "data" / "images"


def store_zip(archive: IO[bytes], title: str, on_progress: Progress | None = None, *, user: str = "") -> StoredFolder:
    """Unpack an archive of images. user: whose it is then, see core.jobs.quota. Raises LabError for one that is damaged,
    encrypted or too large, or has no images."""
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            if any(member.flag_bits & 1 for member in members):
                raise LabError("The archive is encrypted: save it without a password.")
            claimed = sum(member.file_size for member in members)
            _check_total(len(members), claimed)
            files = (UploadedFile(member.filename, partial(opened.open, member)) for member in members)
            return _store(files, title, claimed, on_progress, user)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise LabError(f"{_clean(title)} is not a zip archive that can be read ({error}): pack it again.") from error


def store_files(
    files: Iterable[UploadedFile],
    title: str,
    total_bytes: int = 0,
    on_progress: Progress | None = None,
    *,
    user: str = "",
) -> StoredFolder:
    """Store the files of a folder. Raises LabError where they are too many or too large, or none is an image."""
    return _store(iter(files), title, total_bytes, on_progress, user)


def stored_folders() -> list[StoredFolder]:
    """What was uploaded, the newest first."""
    found = []
    for note in folder().glob("*.json"):
        path = note.with_suffix("")
        if ID.fullmatch(path.name) and path.is_dir() and (facts := read_note(path, MAX_NOTE_BYTES)):
            with contextlib.suppress(OSError):  # deleted just now
                found.append((note.stat().st_mtime_ns, _described(path, facts)))
    return [entry for _, entry in sorted(found, key=lambda pair: (-pair[0], pair[1].name))]


def delete_stored(path: Path) -> None:
    """Remove an uploaded folder. Raises LabError for any other folder, and where the disk refuses."""
    if not is_stored(path):
        raise LabError(f"{path} was not uploaded here: delete it yourself.")
    check_writable()
    with readable_disk_errors(path):
        path.with_suffix(".json").unlink(missing_ok=True)
        if path.is_dir():
            shutil.rmtree(path)


def leave_out(path: Path, files: Iterable[str], why: str) -> int:
    """Remove files from an uploaded folder, and say so in its note; how many were there. files: paths below it.

    Raises LabError for any other folder, and where the disk refuses. The upload can be given again, and is whole then.
    """
    if not is_stored(path):
        raise LabError(f"{path} was not uploaded here: remove the files yourself.")
    check_writable()
    removed = size = 0
    with readable_disk_errors(path):
        facts = read_note(path, MAX_NOTE_BYTES) | {"reduced": True}
        write_atomic(
            path.with_suffix(".json"), json.dumps(facts).encode()
        )  # first: whatever happens, it can be made whole
        for name in files:
            file = path / name
            if ".." in PurePosixPath(name).parts or not file.is_relative_to(path) or not file.is_file():
                continue
            size += file.stat().st_size
            file.unlink()
            removed += 1
        sentences = [*facts.get("left_out", ()), f"{removed:,} {'file' if removed == 1 else 'files'} left out: {why}."]
        facts |= {
            "images": max(0, int(facts.get("images", 0)) - removed),
            "size_bytes": max(0, int(facts.get("size_bytes", 0)) - size),
            "left_out": sentences,
        }
        write_atomic(path.with_suffix(".json"), json.dumps(facts).encode())
    return removed


def is_stored(path: Path) -> bool:
    """Whether this is, or was, the folder of an upload."""
    return path.parent == folder() and bool(ID.fullmatch(path.name))


def title_of(path: Path) -> str:
    """The name that an uploaded folder was given; empty for any other folder."""
    if not is_stored(path):
        return ""
    return str(read_note(path, MAX_NOTE_BYTES).get("title", ""))


def _check_directory(archive: IO[bytes]) -> None:
    """Raises LabError where an archive's list of files is longer than any that is taken: reading it could take the memory.

    The end of a zip archive says how long its list is; zipfile believes it, and reads as much. Source: APPNOTE.TXT 6.3.10,
    4.3.14 and 4.3.16.
    """
    length = archive.seek(0, os.SEEK_END)
    archive.seek(max(0, length - 66_000))  # a comment is at most 65,535 bytes
    end = archive.read()
    said = [int.from_bytes(end[at + 12 : at + 16], "little") for at in _places(end, b"PK\5\6")]
    # In the record of large archives, which counts wherever there is one.
    large = [int.from_bytes(end[at + 40 : at + 48], "little") for at in _places(end, b"PK\6\6")]
    archive.seek(0)
    if max((*large, *(size for size in said if size != 0xFFFFFFFF or not large)), default=0) > MAX_DIRECTORY_BYTES:
        raise LabError(f"The archive lists far more files than the {MAX_FILES:,} images that are taken: give fewer.")


def _places(data: bytes, sign: bytes) -> Iterator[int]:
    at = data.find(sign)
    while at >= 0:
        yield at
        at = data.find(sign, at + 1)


def _check_total(files: int, size_bytes: int) -> None:
    if files > 2 * MAX_FILES:
        raise LabError(f"There are {files:,} files and at most {MAX_FILES:,} images are taken: give fewer.")
    if size_bytes > MAX_TOTAL_BYTES:
        raise LabError(
            f"The files have {size_bytes / 1e9:.1f} GB unpacked and at most {MAX_TOTAL_BYTES / 1e9:g} GB are taken: scale the "
            "images down, or give fewer."
        )


def _store(
    files: Iterator[UploadedFile], title: str, total_bytes: int, on_progress: Progress | None, user: str
) -> StoredFolder:
    check_writable()
    home = folder()
    with readable_disk_errors(home):
        temporary = temporary_folder(home)
        try:
            images, size, content, left_out = _write(files, temporary, Meter(on_progress, "store", total_bytes))
            if not images:
                raise LabError(f"{_clean(title)} holds no image: give a folder or a zip archive with photos.")
            path = home / content[:16]
            kept = read_note(path, MAX_NOTE_BYTES)  # photos that are here already keep their name and owner
            facts = {
                "title": kept.get("title", _clean(title)),
                "user": kept.get("user", "") if kept else user,
                "images": images,
                "size_bytes": size,
                "left_out": left_out,
            }
            if kept.get("reduced"):  # given again, it is whole again
                shutil.rmtree(path, ignore_errors=True)
            try:
                os.replace(temporary, path)
            except OSError:  # it was stored before, or just now by somebody else
                if not path.is_dir():
                    raise
            write_atomic(path.with_suffix(".json"), json.dumps(facts).encode())
            return _described(path, facts)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(files: Iterator[UploadedFile], target: Path, meter: Meter) -> tuple[int, int, str, list[str]]:
    """Images stored, bytes stored, a checksum of all, and what was left out."""
    images, seen, size, read = 0, 0, 0, 0
    left_out: Counter[str] = Counter()
    taken: set[str] = set()
    digests: list[str] = []
    for seen, file in enumerate(files, 1):
        parts = PurePosixPath(file.name.replace("\\", "/")).parts
        if not _usable(parts):
            left_out["with an unsafe name"] += 1
            continue
        if any(map(is_junk, parts)):
            left_out["hidden or of the system"] += 1
            continue
        suffix = PurePosixPath(parts[-1]).suffix.lower()
        limit = MAX_LIST_BYTES if suffix in LISTS else MAX_BYTES
        try:
            with file.open() as opened:
                content = opened.read(limit + 1)
        except UNREADABLE:
            left_out["damaged or unreadable"] += 1
            continue
        read += len(content)
        _check_total(seen, read)
        meter.update(read)
        if not content:
            left_out["empty"] += 1
        elif image_format(content[:32]) is None and suffix not in LISTS:
            left_out["not an image"] += 1
        elif len(content) > limit:
            left_out[f"larger than {limit // 10**6} MB"] += 1
        elif (relative := "/".join(parts)).casefold() in taken or not _place(target.joinpath(*parts)):
            left_out["with the name of another"] += 1
        else:
            taken.add(relative.casefold())
            images += suffix not in LISTS
            if images > MAX_FILES:
                raise LabError(f"There are more than {MAX_FILES:,} images: give fewer.")
            size += len(content)
            target.joinpath(*parts).write_bytes(content)
            digests.append(f"{relative} {hashlib.blake2b(content, digest_size=16).hexdigest()}")
    digest = hashlib.sha256("\n".join(sorted(digests)).encode(errors="surrogateescape")).hexdigest()
    return (
        images,
        size,
        digest,
        [f"{count:,} {'file' if count == 1 else 'files'} left out: {why}." for why, count in left_out.items()],
    )


def _usable(parts: tuple[str, ...]) -> bool:
    # What is printable has no lone surrogates, so it can be encoded.
    return 0 < len(parts) <= MAX_PARTS and all(
        part not in ("..", "/") and ":" not in part and part.isprintable() and len(part.encode()) <= MAX_NAME_BYTES
        for part in parts
    )


def _place(path: Path) -> bool:
    """Make the folder of a file. False where a file is called like one of its folders, or a folder like the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        return False
    return not path.is_dir()


def _described(path: Path, facts: dict[str, Any]) -> StoredFolder:
    return StoredFolder(
        name=f"folder:{path}",
        title=str(facts.get("title", path.name)),
        path=path,
        images=int(facts.get("images", 0)),
        size_bytes=int(facts.get("size_bytes", 0)),
        left_out=tuple(map(str, facts.get("left_out", ()))),
    )


def _clean(title: str) -> str:
    """A name for people, from one that came with an upload."""
    name = re.sub(r"\.zip$", "", PurePosixPath(title.replace("\\", "/")).name, flags=re.IGNORECASE)
    return one_line(name, 60) or "Images"
