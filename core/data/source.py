"""What the registry knows of a dataset before anything is loaded, and the paths that names of a user's own datasets hold."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.common.errors import LabError
from core.common.progress import Progress
from core.data.dataset import Dataset

Task = Literal["images", "text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetStatus:
    ready: bool
    """Whether a load needs no network."""
    size_bytes: int
    """Taken on disk now; 0 for a folder or file of the user's own, which is not looked through."""
    folder: Path
    sentence: str
    """The same for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSource:
    name: str
    title: str
    description: str
    task: Task
    """`images`: it loads as an ImageDataset; `text`: as a TextDataset."""
    download_bytes: int = 0
    """Most that a first load downloads."""
    load: Callable[[Progress | None], Dataset]
    is_ready: Callable[[], bool]
    folder: Callable[[], Path]
    sizes: Callable[[], dict[str, int]] = dict
    """Images or characters of each split, as far as that is known without loading it."""
    state: Callable[[], str] = str
    """Another text whenever what is on disk has changed; the same for ever for data that cannot change."""


WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def path_behind(prefix: str, name: str, *, what: str, example: str) -> Path:
    """The absolute path in `<prefix><path>`. Raises LabError where there is none; nothing is looked up on disk."""
    text = name.removeprefix(prefix).strip()
    if not text or "\0" in text or len(text) > 4096:
        raise LabError(f"{prefix} needs the path of a {what} behind it, as in {prefix}{example}.")
    if os.name == "posix" and WINDOWS_PATH.match(text):
        raise LabError(
            f"{text[:100]} is a path of a Windows machine: give the path of a {what} on the machine that this server runs on, "
            f"as in {example}."
        )
    return Path(os.path.expanduser(text)).absolute()  # Path.expanduser raises where there is no such user
