"""What a network computes before its last layer, once for all images, kept on disk: training a head needs no more of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home
from core.common.progress import Progress
from core.data.storage import readable_disk_errors
from core.inference.neighbours import without_head
from core.models import clone_model, images_at_once
from core.training.batches import DeviceImages

MOST_AT_ONCE = 500
KEPT_FILES = 12
"""Older files of features are removed."""
LEFT_AFTER_S = 86_400.0
"""An unfinished file that nobody has written to for so long belongs to a process that was killed."""
ASK_AGAIN_S = 0.2
"""Who waits for another thread's work can be stopped this often."""
_locks: dict[Path, threading.Lock] = {}
_locks_guard = threading.Lock()


def body_of(model: nn.Module) -> nn.Module:
    """A frozen copy of the network in eval mode, without its head: images (N, 3, H, W) to features (N, F)."""
    return clone_model(without_head(model))


def features_of(
    body: nn.Module,
    data: DeviceImages,
    *,
    settings: Mapping[str, Any],
    amp: torch.autocast,
    words: str,
    on_progress: Progress | None = None,
    folder: str = "features",
) -> Tensor:
    """Features (N, F) float32 on the CPU, of all images in order; from disk where they were computed before.

    settings: of the network. folder: below LAB_HOME. A callback that raises ends the work, and nothing is kept.
    """
    path = lab_home() / folder / f"{_key(body, data, settings)}.npy"
    # Threads of one process would write to one temporary file, and the second finds what the first has computed.
    with _alone(path, words, on_progress):
        kept = _read(path, len(data))
        if kept is not None:
            return kept
        with readable_disk_errors(path.parent):
            _write(path, body, data, images_at_once(settings, MOST_AT_ONCE), amp, words, on_progress)
        kept = _read(path, len(data))
    if kept is None:
        raise LabError(f"{path} was damaged right after it was written: check that disk, or set LAB_HOME to another.")
    _remove_old(path.parent)
    return kept


@contextlib.contextmanager
def _alone(path: Path, words: str, on_progress: Progress | None) -> Iterator[None]:
    """One thread at a time for each path; who waits can still be stopped by its callback."""
    with _locks_guard:
        lock = _locks.setdefault(path, threading.Lock())
    while not lock.acquire(timeout=ASK_AGAIN_S):
        if on_progress:
            on_progress(0.0, words)
    try:
        yield
    finally:
        lock.release()


def _remove_old(folder: Path) -> None:
    """Remove all but the latest files, and what a killed process left. Others may do the same, and read on what they have."""
    ages: dict[Path, float] = {}
    for item in folder.iterdir():
        with contextlib.suppress(OSError):
            ages[item] = time.time() - item.stat().st_mtime
    whole = sorted((item for item in ages if item.suffix == ".npy"), key=lambda item: ages[item])
    left = [item for item, age in ages.items() if item.name.startswith(".") and age > LEFT_AFTER_S]
    for item in (*whole[KEPT_FILES:], *left):
        with contextlib.suppress(OSError):
            item.unlink()


def _write(
    path: Path,
    body: nn.Module,
    data: DeviceImages,
    size: int,
    amp: torch.autocast,
    words: str,
    on_progress: Progress | None,
) -> None:
    temporary = ensure_folder(path.parent) / f".{path.stem}-{os.getpid()}"
    done = 0
    try:
        with temporary.open("wb") as file, torch.inference_mode():
            for images, _ in data.chunks(size):
                if on_progress:
                    on_progress(done / len(data), words)
                with amp:
                    found = body(images).float().cpu().numpy()
                if done == 0:
                    file.write(_header(len(data), found.shape[1]))
                file.write(np.ascontiguousarray(found).data)
                done += len(found)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _header(rows: int, columns: int) -> bytes:
    header = io.BytesIO()
    values = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(header, values)
    return header.getvalue()


def _read(path: Path, rows: int) -> Tensor | None:
    try:
        # Copy on write: torch takes no array that cannot be written, and nothing writes to it.
        found = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # missing or damaged: computing again is the answer to each
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return torch.from_numpy(found) if found.ndim == 2 and len(found) == rows and found.dtype == np.float32 else None


def _key(body: nn.Module, data: DeviceImages, settings: Mapping[str, Any]) -> str:
    """Of all that features depend on: weights, settings of the network, pixels, their normalisation, and the arithmetic."""
    digest = hashlib.sha256()
    for name, tensor in body.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    digest.update(data.images.cpu().numpy().data)
    arithmetic = f"{data.dtype} {data.images.device.type}"
    network = json.dumps({name: value for name, value in settings.items() if name != "classes"}, sort_keys=True)
    digest.update(f"{data.scale.tolist()} {data.shift.tolist()} {network} {arithmetic}\n".encode())
    return digest.hexdigest()
