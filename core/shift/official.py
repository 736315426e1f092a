"""CIFAR-10-C and CIFAR-10.1 as their authors publish them, for machines with a network. Nothing here is ever unpickled.

CIFAR-10-C: Hendrycks & Dietterich 2019, Zenodo record 2535967, CC BY 4.0. CIFAR-10.1 v6: Recht et al. 2018, arXiv:1806.00451.
Both could not be fetched where this was written: sizes and checksums are the published ones, the layout is that of the
authors' own scripts, and tests use files that were made in that format.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Meter, Progress
from core.data import storage
from core.data.archives import Archive
from core.data.dataset import ImageDataset, Split
from core.data.fetch import Mirror, Unreachable, incoming_folder, obtain_archive, open_url
from core.shift.catalogue import CORRUPTIONS, SEVERITIES

if TYPE_CHECKING:
    from core.shift.measure import Make

ADDRESS = "https://zenodo.org/records/2535967/files/CIFAR-10-C.tar?download=1"
TAR = Mirror(
    archive=Archive(
        filename="CIFAR-10-C.tar",
        size_bytes=2_918_471_680,
        sha256="c72763e101c723b7c507b96205f7e938912a5d587376173b825850cf3cb876a7",
    ),
    name="Zenodo",
    address=lambda: ADDRESS,
    by_hand=ADDRESS,
)
"""Its MD5 is 56bf5dcef84df0e2308c6dcbcbbd8499; the SHA-256 is that of TensorFlow Datasets."""
NEEDED_BYTES = 6_000_000_000
CHUNK_BYTES = 1 << 20
IMAGES = 10_000
"""Of each severity, in the order of the test set."""
SHAPE = (IMAGES * len(SEVERITIES), 32, 32, 3)
NEW_TEST = "https://github.com/modestyachts/CIFAR-10.1/raw/master/datasets/"
NEW_FILES: dict[str, tuple[tuple[int, ...], str, int, str]] = {
    "cifar10.1_v6_data.npy": ((2000, 32, 32, 3), "uint8", 6_144_128, "24349cc5f3fb59648d75cd8015b5a184b1f5c250"),
    "cifar10.1_v6_labels.npy": ((2000,), "int32", 8_128, "e713b09cecf2ecd933970001909fcdec7c907ab0"),
}
"""Shape, type, bytes, and the checksum by which the authors' repository knows the file (git's, of its content)."""


def corrupted_folder() -> Path:
    return lab_home() / "data" / "cifar10c"


def new_test_folder() -> Path:
    return lab_home() / "data" / "cifar10_1"


def has_corrupted() -> bool:
    """Whether the files of CIFAR-10-C are here; a load looks into them as well."""
    return all((corrupted_folder() / f"{name}.npy").is_file() for name in (*CORRUPTIONS, "labels"))


def has_new_test() -> bool:
    return all((new_test_folder() / name).is_file() for name in NEW_FILES)


def load_corrupted(on_progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The 19 arrays (50000, 32, 32, 3) uint8 by name, severity after severity, and `labels` (50000,); fetched first where they
    are missing. Raises LabError with the ways out."""
    return storage.read_or_fetch(
        corrupted_folder(),
        _read_corrupted,
        partial(_fetch_corrupted, on_progress),
        needed_bytes=NEEDED_BYTES,
        on_progress=on_progress,
    )


def official_maker(dataset: ImageDataset) -> Make:
    """What reads images of CIFAR-10-C by their numbers in the test set. Raises LabError where the files are not here, or belong
    to other images."""
    if not has_corrupted():
        raise LabError(
            f"The files of CIFAR-10-C are not on this machine (2.9 GB): fetch them, or put {TAR.archive.filename} into "
            f"{incoming_folder()}, or measure recomputed corruptions."
        )
    arrays = load_corrupted()
    labels = np.tile(dataset.test.labels, len(SEVERITIES))
    if labels.shape != arrays["labels"].shape or (labels != arrays["labels"]).any():
        raise LabError(f"CIFAR-10-C holds other images than {dataset.card.title[:60]}: measure recomputed corruptions.")

    def make(name: str, severity: int, numbers: np.ndarray) -> np.ndarray:
        return np.asarray(arrays[name][(severity - 1) * IMAGES + numbers])

    return make


def load_new_test(on_progress: Progress | None = None) -> Split:
    """CIFAR-10.1 v6: 2,000 new images of CIFAR-10's classes; fetched first where they are missing. Raises LabError."""
    return storage.read_or_fetch(
        new_test_folder(),
        _read_new_test,
        partial(_fetch_new_test, on_progress),
        needed_bytes=20_000_000,
        on_progress=on_progress,
    )


def _read_corrupted() -> dict[str, np.ndarray] | None:
    arrays = {}
    for name in (*CORRUPTIONS, "labels"):
        shape = SHAPE[:1] if name == "labels" else SHAPE
        array = _read_array(corrupted_folder() / f"{name}.npy", shape, "uint8")
        if array is None:
            return None
        arrays[name] = array
    return arrays


def _read_array(path: Path, shape: tuple[int, ...], kind: str) -> np.ndarray | None:
    """None where the file is missing, damaged, or another array."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (MemoryError, PermissionError):
        raise
    except Exception:  # a damaged header makes numpy raise nearly anything
        return None
    return array if (array.shape, array.dtype) == (shape, np.dtype(kind)) else None


def _fetch_corrupted(on_progress: Progress | None, temporary: Path) -> storage.Files:
    path = obtain_archive(temporary, (TAR,), variable="LAB_CIFAR10C", title="CIFAR-10-C", on_progress=on_progress)
    files: storage.Files = {}
    try:
        with tarfile.open(path, "r:") as tar:
            sizes = {Path(member.name).name: member for member in tar if member.isfile()}
    except (tarfile.TarError, OSError) as error:
        raise LabError(f"{path.name} is not laid out as expected: remove it and try again.") from error
    for name in (*CORRUPTIONS, "labels"):
        if f"{name}.npy" not in sizes:
            raise LabError(f"{path.name} has no {name}.npy: remove it and try again.")
        files[f"{name}.npy"] = _parts(path, sizes[f"{name}.npy"], on_progress)
    return files


def _parts(path: Path, member: tarfile.TarInfo, on_progress: Progress | None) -> Iterator[bytes]:
    """A member's content, a megabyte at a time: all of them together would not fit into memory."""
    meter = Meter(on_progress, f"unpack {Path(member.name).name}", member.size)
    with tarfile.open(path, "r:") as tar:
        content = tar.extractfile(member)
        assert content is not None
        done = 0
        while part := content.read(CHUNK_BYTES):
            done += len(part)
            meter.update(done)
            yield part


def _read_new_test() -> Split | None:
    arrays = []
    for name, (shape, kind, _, checksum) in NEW_FILES.items():
        path = new_test_folder() / name
        array = _read_array(path, shape, kind)
        if array is None or git_checksum(path.read_bytes()) != checksum:
            return None
        arrays.append(np.array(array))
    return Split(images=arrays[0], labels=arrays[1].astype(np.int64))


def _fetch_new_test(on_progress: Progress | None, temporary: Path) -> storage.Files:
    files: storage.Files = {}
    for name, (_, _, size, checksum) in NEW_FILES.items():
        placed = incoming_folder() / name
        content = placed.read_bytes() if placed.is_file() else _download(NEW_TEST + name, size, on_progress)
        if git_checksum(content) != checksum:
            where = f"remove {placed}" if placed.is_file() else "try again"
            raise LabError(f"{name} has another checksum than the authors' file: {where}.")
        files[name] = (content,)
    return files


def _download(url: str, size: int, on_progress: Progress | None) -> bytes:
    import requests

    content, meter = b"", Meter(on_progress, "download CIFAR-10.1", size)
    try:
        with open_url(url) as response:
            for chunk in response.iter_content(1 << 14):
                content += chunk
                meter.update(len(content))
                if len(content) > size:
                    raise Unreachable("it sent something else")
    except (Unreachable, requests.RequestException, ValueError) as error:
        raise LabError(
            f"CIFAR-10.1 could not be downloaded from {url.split('/')[2]}: connect and try again, or put "
            f"{' and '.join(NEW_FILES)} into {incoming_folder()}."
        ) from error
    return content


def git_checksum(content: bytes) -> str:
    """The name that git has for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
