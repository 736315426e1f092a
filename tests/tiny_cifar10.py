"""A CIFAR-10 of 120 images in both published archive layouts, so that fetching is tested without the real 139 MB."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from core.data.cifar10 import AUTHORS, NPM
from core.data.fetch import Mirror

PER_BATCH = 20
BATCHES = 5


@dataclass(frozen=True)
class TinyCifar10:
    """The planted arrays, both archives on disk, and what `cifar10.MIRRORS` and `cifar10.ARRAYS` are for them."""

    arrays: dict[str, np.ndarray]
    python_path: Path
    npm_path: Path
    mirrors: tuple[Mirror, ...]
    identities: dict[str, tuple[tuple[int, ...], str]]


def make_tiny_cifar10(folder: Path) -> TinyCifar10:
    rng = np.random.default_rng(7)
    arrays = {}
    for split, count in (("train", BATCHES * PER_BATCH), ("test", PER_BATCH)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.permutation(np.arange(count) % 10).astype(np.uint8)
    python_path = _write_tar(folder / AUTHORS.archive.filename, "cifar-10-batches-py", _python_members(arrays))
    npm_path = _write_tar(folder / NPM.archive.filename, "package", _npm_members(arrays))
    identities = {name: (each.shape, _sha256(each.tobytes())) for name, each in arrays.items()}
    mirrors = (pinned(AUTHORS, python_path), pinned(NPM, npm_path))
    return TinyCifar10(arrays, python_path, npm_path, mirrors, identities)


def pinned(mirror: Mirror, path: Path) -> Mirror:
    """The mirror with the size and the checksum of another file."""
    content = path.read_bytes()
    return replace(mirror, archive=replace(mirror.archive, size_bytes=len(content), sha256=_sha256(content)))


def python2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """A batch pickled as Python 2 did (protocol 2, byte strings, numpy.core): pixels (N, 3072) uint8."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    raw = pixels.tobytes()
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\0K\1\x87R(K\3" + text(b"|") + b"NNN" + number(-1) * 2 + b"K\0tb"
    shape = number(pixels.shape[0]) + number(pixels.shape[1]) + b"\x86"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
    array += b"(K\1" + shape + dtype + b"\x89" + b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\2}(" + text(b"data") + array + text(b"labels") + listed + b"u."


def _python_members(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    members = {"readme.html": b"<html></html>", "batches.meta": b"not opened"}
    for name, images, labels in _batches(arrays):
        flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        members[name] = python2_batch(flat, labels.tolist())
    return members


def _npm_members(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    members = {"package.json": b"{}"}
    for name, images, _ in _batches(arrays):
        buffer = io.BytesIO()
        Image.fromarray(images.reshape(len(images), 1024, 3)).save(buffer, "PNG")
        members[f"{name}.png"] = buffer.getvalue()
    for split in ("train", "test"):
        members[f"{split}_lables.json"] = json.dumps(arrays[f"{split}_labels"].tolist()).encode()
    return members


def _batches(arrays: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    found = [("test_batch", arrays["test_images"], arrays["test_labels"])]
    for number in reversed(range(BATCHES)):  # archives need not be in order
        rows = slice(number * PER_BATCH, (number + 1) * PER_BATCH)
        found.append((f"data_batch_{number + 1}", arrays["train_images"][rows], arrays["train_labels"][rows]))
    return found


def _write_tar(path: Path, folder: str, members: dict[str, bytes]) -> Path:
    # No time of day in it: two processes make the same bytes.
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
