"""What the registry knows of a dataset before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.data.dataset import ImageDataset
from core.data.progress import OnProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetStatus:
    """What is on disk of a dataset."""

    ready: bool
    """Whether a load needs no network."""
    size_bytes: int
    """Taken on disk now; 0 for a folder of the user's own, which is not walked through."""
    folder: Path
    sentence: str
    """The same for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSource:
    """An entry of the registry."""

    name: str
    title: str
    description: str
    download_bytes: int
    """Most that a first load downloads."""
    load: Callable[[OnProgress | None], ImageDataset]
    is_ready: Callable[[], bool]
    folder: Callable[[], Path]
    state: Callable[[], str] = str
    """Another text whenever what is on disk has changed; the same for ever for data that cannot change."""
