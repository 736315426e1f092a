"""Where things live on disk, and how files are written so that no reader ever sees half of one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from core.common.errors import LabError

TEMPORARY_CHARACTERS = 8
"""At the end of a temporary file's name."""


def lab_home() -> Path:
    """The folder for datasets and runs: `LAB_HOME`, or `~/.cache/bottleneck-lab`. It may not exist yet."""
    return Path(os.environ.get("LAB_HOME") or Path.home() / ".cache" / "bottleneck-lab").expanduser().absolute()


def ensure_folder(path: Path) -> Path:
    """Create `path` if needed and return it. Raises LabError where it cannot be used."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"The folder {path} cannot be used ({error.strerror or error}): free it, or set LAB_HOME to a folder you own."
        ) from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise LabError(
            f"The folder {path} is not writable: change its permissions, or set LAB_HOME to a folder you own."
        )
    return path


def torn_writes(folder: Path) -> list[Path]:
    """What `write_atomic` leaves in a folder when its process is killed; also what a living one is writing just now."""
    return list(folder.glob(f".*.{'?' * TEMPORARY_CHARACTERS}"))


def write_atomic(path: Path, content: bytes | str, *, durable: bool = True, mode: int = 0o600) -> None:
    """Replace `path` as a whole (write beside it, fsync, rename), so that a crash leaves the old file or the new one.

    durable=False skips the fsync: readers still never see half a file, but a power cut may lose the newest one.
    mode: permissions before the umask; 0o666 gives those of any new file.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(TEMPORARY_CHARACTERS // 2)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
