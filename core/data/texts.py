"""A text file of the user's own as a dataset, `text:<path>`, and the texts that were uploaded."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from functools import lru_cache, partial
from pathlib import Path

from core.common.access import check_writable
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.common.progress import Meter, Progress
from core.data import storage, text
from core.data.dataset import TextDataset
from core.data.normalize import NormalizedText, known_changes
from core.data.source import DatasetSource, path_behind

TEXT_PREFIX = "text:"
MAX_NOTE_BYTES = 10_000


def folder() -> Path:
    """Where uploaded texts are kept: `<start of the checksum>.txt`, beside it a .json with the title."""
    return lab_home() / "data" / "texts"


def path_of(name: str) -> Path:
    """The file that `text:<path>` names. Raises LabError where there is none."""
    path = path_behind(TEXT_PREFIX, name, what="text file", example="/home/me/book.txt")
    if not str(path).isprintable():  # it will stand in cards, tables and terminals
        raise LabError(
            f"The path {str(path)[:200]!a} holds characters that cannot be shown: rename the file or its folder."
        )
    _stat(path)
    return path


def source(name: str) -> DatasetSource:
    """The entry that the registry would have for `text:<path>`. Raises LabError where there is no such file."""
    path = path_of(name)
    return DatasetSource(
        name=f"{TEXT_PREFIX}{path}",
        title=_title(path),
        description=f"The text file {path}.",
        task="text",
        load=partial(load, name),
        is_ready=path.is_file,
        sizes=lambda: dict(_sizes(path, state(name))),
        state=partial(state, name),
        folder=lambda: path.parent,
    )


def load(name: str, on_progress: Progress | None = None) -> TextDataset:
    """Read a text file. Raises LabError for anything that cannot become a dataset."""
    path = path_of(name)
    data, title = _read(path), _title(path)
    Meter(on_progress, "read", len(data)).update(len(data), now=True)
    content = _decode(path, data)
    return text.build(
        content.text,
        name=f"{TEXT_PREFIX}{path}",
        title=title,
        source=f"The file {path}",
        sha256=text.digest(content.text),
        changes=content.changes,
    )


def state(name: str) -> str:
    """Another text whenever the file was changed or replaced, without opening it. Raises LabError as `load`."""
    found = _stat(path_of(name))
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def store_upload(data: bytes, title: str, encoding: str | None = None, *, user: str = "") -> str:
    """Check an uploaded text and keep it; the name of its dataset. Raises LabError where it cannot become one.

    A text that is there already is kept once, under its newest title. encoding: as in `text.decode_file`. user: whose a new
    one is, see core.jobs.quota.
    """
    check_writable()
    content = text.decode_file(data, title, encoding)
    sha256 = text.digest(content.text)
    text.build(content.text, name="", title=title, source="", sha256=sha256)
    # The path comes from the checksum alone: whatever a title holds, it stays inside the note.
    path = ensure_folder(folder()) / f"{sha256[:16]}.txt"
    owner = storage.read_note(path, MAX_NOTE_BYTES).get("user", "") if path.is_file() else user
    note = {"title": text.clean_title(title), "changes": content.changes, "user": owner}
    with storage.readable_disk_errors(path.parent):
        # The note first: a crash between the two leaves a note without a text, which nobody sees.
        write_atomic(path.with_suffix(".json"), json.dumps(note))
        # Not written again where it is there: its new time would make everyone read it again.
        if not path.is_file() or path.read_bytes() != content.text.encode():
            write_atomic(path, content.text.encode())
    return f"{TEXT_PREFIX}{path}"


def convert_text(name: str, encoding: str) -> str:
    """Keep the file that `text:<path>` names as an upload in UTF-8; the name of that. Raises LabError as `store_upload`."""
    path = path_of(name)
    return store_upload(_read(path), _title(path), encoding)


def delete_text(name: str) -> None:
    """Remove an uploaded text. Raises LabError for any other, and where the disk refuses."""
    path = path_of(name)
    if not is_upload(path):
        raise LabError(f"{path} was not uploaded here: delete it yourself.")
    check_writable()
    with storage.readable_disk_errors(path):
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)


def is_upload(path: Path) -> bool:
    """Whether this is the file of an upload."""
    return path.parent == folder() and bool(re.fullmatch(r"[0-9a-f]{16}\.txt", path.name))


def stored_texts() -> list[DatasetSource]:
    """The texts that were uploaded, the newest first."""
    found = []
    for path in folder().glob("*.txt"):
        try:
            if is_upload(path):
                found.append((_uploaded_ns(path), source(f"{TEXT_PREFIX}{path}")))
        except (LabError, OSError):  # removed just now
            continue
    return [entry for _, entry in sorted(found, key=lambda pair: (-pair[0], pair[1].name))]


@lru_cache(maxsize=64)
def _sizes(path: Path, state: str) -> dict[str, int]:
    """Characters, which are fewer than bytes in most languages. Raises LabError. state: counted anew for another."""
    content = _decode(path, _read(path)).text
    train = text.train_characters(content)
    return {"train": train, "validation": len(content) - train}


def _decode(path: Path, data: bytes) -> NormalizedText:
    """The text in a file. An upload is as it was when it got its name, so that what was trained on it still knows it."""
    if path.parent == folder() and hashlib.sha256(data).hexdigest()[:16] == path.stem:
        changes = storage.read_note(path, MAX_NOTE_BYTES).get("changes")
        return NormalizedText(text=data.decode(), changes=known_changes(changes))
    return text.decode_file(data, _title(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte more than is ever decoded is enough to be refused for its size.
            return file.read(text.MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror}): change its permissions.") from error


def _uploaded_ns(path: Path) -> int:
    note = path.with_suffix(".json")
    return (note if note.is_file() else path).stat().st_mtime_ns


def _title(path: Path) -> str:
    """The title that an uploaded text was given; of any other file its name."""
    title = storage.read_note(path, MAX_NOTE_BYTES).get("title") if path.parent == folder() else None
    return text.clean_title(title if isinstance(title, str) else path.name)


def _stat(path: Path) -> os.stat_result:
    """Of a regular file. Raises LabError where there is none, or where it can't be looked at."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no disk can hold
        found = None
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror}): correct it, or change its permissions.") from error
    if found is None or not stat.S_ISREG(found.st_mode):
        raise LabError(f"There is no text file {path}: give the path of a .txt file.")
    return found
