"""Any folder of class folders as a dataset: `PATH/train/CLASS/*.png…`, or just `PATH/CLASS/*.png…`.

`test/` and `validation/` (or `val/`) beside `train/` are taken as they are; each that is missing is a stratified, seeded
tenth of the training images.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Meter, Progress
from core.data.dataset import ImageCard, ImageDataset, Split
from core.data.decode import MAX_BYTES, SUFFIXES, decode_image, fit_to_model
from core.data.source import DatasetSource, path_behind
from core.data.splits import held_count, hold_out

FOLDER_PREFIX = "folder:"
SPLIT_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
IMAGE_SIZE = 32
HELD_OUT = 0.1
TEST_SEED, VALIDATION_SEED = 20092, 20093
MAX_IMAGES = 200_000
MAX_CLASSES = 1000
MAX_UNREADABLE = 0.1
"""A larger share (0..1) of unreadable images means that something is wrong with the folder."""
KEPT_CACHES = 8


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size_bytes: int
    stamp: str
    """Another one whenever the file is another or was touched: inode, times of content and of permissions."""
    label: int


def root_of(name: str) -> Path:
    """The folder that `folder:<path>` names. Raises LabError where there is none."""
    root = path_behind(FOLDER_PREFIX, name, what="folder", example="/home/me/images")
    try:
        found = root.is_dir()
    except OSError as error:
        raise LabError(f"{root} cannot be read ({error.strerror}): change its permissions.") from error
    if not found:
        raise LabError(f"There is no folder {root}: give the folder that holds train/ or the class folders.")
    return root


def source(name: str) -> DatasetSource:
    """The entry that the registry would have for `folder:<path>`. Raises LabError where there is no such folder."""
    root = root_of(name)
    return DatasetSource(
        name=f"{FOLDER_PREFIX}{root}",
        title=root.name or str(root),
        description=f"Class folders in {root}.",
        task="images",
        load=partial(load, name),
        is_ready=root.is_dir,
        sizes=partial(sizes, name),
        state=partial(state, name),
        folder=lambda: root,
    )


def load(name: str, on_progress: Progress | None = None) -> ImageDataset:
    """Read and decode a folder of class folders. Raises LabError for anything that cannot become a dataset.

    The decoded pixels are kept in `lab_home()/data/folders` until a file is added, removed or changed.
    """
    root = root_of(name)
    classes, listing = _list(root)
    files = [file for split in listing.values() for file in split]
    pixels, readable = _decoded(files, on_progress)
    _check_unreadable(root, files, readable)
    splits, start = {}, 0
    for split, members in listing.items():
        good = np.flatnonzero(readable[start : start + len(members)]) + start
        splits[split] = Split(images=pixels[good], labels=np.array([files[i].label for i in good], dtype=np.int64))
        start += len(members)
    return _dataset(root, classes, splits, _unreadable_sentence(root, files, readable))


def sizes(name: str) -> dict[str, int]:
    """Images of each split, without opening any: those that cannot be decoded count too. Raises LabError as `load`."""
    classes, listing = _list(root_of(name))
    counts = {
        split: np.bincount([file.label for file in files], minlength=len(classes)) for split, files in listing.items()
    }
    for split in ("test", "validation"):
        if split not in counts:
            counts[split] = np.array([held_count(int(n), HELD_OUT) for n in counts["train"]])
            counts["train"] = counts["train"] - counts[split]
    return {split: int(each.sum()) for split, each in counts.items()}


def state(name: str) -> str:
    """Another text whenever an image was added, removed or changed, without opening any. Raises LabError as `load`."""
    _, listing = _list(root_of(name))
    return _digest([file for split in listing.values() for file in split])


def _list(root: Path) -> tuple[list[str], dict[str, list[_File]]]:
    """Class names, and the files of each split that is there, in an order that depends on nothing but the names."""
    with _readable(root):
        return _listed(root)


@contextmanager
def _readable(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LabError(
            f"{error.filename or root} cannot be read ({error.strerror}): change its permissions."
        ) from error


def check_layout(name: str) -> None:
    """Raises LabError where `folder:<path>` has no class folders that could be learned from; looks at no image."""
    root = root_of(name)
    with _readable(root):
        _layout(root)


def _layout(root: Path) -> tuple[list[str], dict[str, Path]]:
    """Class names, and the folder of each split that is there."""
    folders = {
        split: folder for split, names in SPLIT_FOLDERS.items() for each in names if (folder := root / each).is_dir()
    }
    if "train" not in folders:
        if folders:
            raise LabError(f"{root} holds {min(folders)}/ but no train/: add it, or name the folders as classes only.")
        folders = {"train": root}
    classes = _class_names(folders["train"])
    if len(classes) < 2:
        found = "1 class folder" if classes else "no class folders"
        raise LabError(
            f"{folders['train']} holds {found} and at least 2 are needed: put the images of each class into a folder of "
            "its own."
        )
    if len(classes) > MAX_CLASSES:
        raise LabError(
            f"{folders['train']} holds {len(classes)} folders and at most {MAX_CLASSES} classes can be told apart."
        )
    for folder in folders.values():
        others = sorted(set(_class_names(folder)) ^ set(classes))
        if others:
            raise LabError(
                f"{folder} and {folders['train']} hold different class folders ({others[0]!r} is in one of them only): "
                "give both the same."
            )
    return classes, folders


def _listed(root: Path) -> tuple[list[str], dict[str, list[_File]]]:
    classes, folders = _layout(root)
    listing: dict[str, list[_File]] = {}
    for split, folder in folders.items():
        listing[split] = [file for label, each in enumerate(classes) for file in _images(folder / each, label)]
        counts = np.bincount([file.label for file in listing[split]], minlength=len(classes))
        if not counts.all():
            empty = folder / classes[int(counts.argmin())]
            raise LabError(
                f"{empty} holds no image ({', '.join(SUFFIXES)}): each folder in there is a class and needs some, so give "
                "another folder, or add images."
            )
    total = sum(map(len, listing.values()))
    if total > MAX_IMAGES:
        raise LabError(f"{root} holds {total} images and at most {MAX_IMAGES} are loaded: give a smaller folder.")
    return classes, listing


def _class_names(folder: Path) -> list[str]:
    names = sorted(item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    odd = [name for name in names if not name.isprintable() or len(name) > 100]
    if odd:
        raise LabError(f"{folder} holds a class folder with an unusable name ({odd[0][:100]!a}): rename it.")
    return names


def _images(folder: Path, label: int) -> Iterator[_File]:
    """Image files anywhere below a class folder."""
    for path in image_paths(folder):
        stat = path.stat()
        yield _File(path, stat.st_size, f"{stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}", label)


def image_paths(folder: Path) -> Iterator[Path]:
    """Files anywhere below a folder that are called like images, in order; hidden ones, links to folders and things that are
    no file are left out. Raises OSError."""
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


def _raise(error: OSError) -> None:
    raise error


def _decoded(files: list[_File], on_progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 32, 32, 3) uint8 and whether each file could be read (N,) bool; from the cache where nothing changed."""
    store = lab_home() / "data" / "folders" / f"{_digest(files)}.npz"
    kept = _from_store(store, len(files))
    if kept is not None:
        return kept
    pixels, readable = np.zeros((len(files), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8), np.zeros(len(files), bool)
    meter, done = Meter(on_progress, "decode", sum(file.size_bytes for file in files)), 0
    unopened = 0
    remaining = iter(enumerate(files))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        # In blocks, so that a callback that raises ends the work soon.
        while block := list(islice(remaining, 256)):
            for (index, file), small in zip(block, pool.map(_model_input, [file for _, file in block])):
                if isinstance(small, np.ndarray):
                    pixels[index], readable[index] = small, True
                unopened += isinstance(small, OSError)
                done += file.size_bytes
                meter.update(done)
    if not unopened:  # what could not be opened now may be opened the next time
        _to_store(store, pixels, readable)
    return pixels, readable


def _digest(files: list[_File]) -> str:
    digest = hashlib.sha256(f"3 {IMAGE_SIZE}\n".encode())  # 3: the way pixels are made; raise it when that changes
    for file in files:
        digest.update(f"{file.path}\0{file.label}\0{file.size_bytes}\0{file.stamp}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _model_input(file: _File) -> np.ndarray | LabError | OSError:
    try:
        # One byte more than is ever decoded is enough to be refused for its size.
        with file.path.open("rb") as opened:
            return fit_to_model(decode_image(opened.read(MAX_BYTES + 1)).rgb, IMAGE_SIZE)
    except (LabError, OSError) as error:
        return error


def _from_store(store: Path, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        with np.load(store, allow_pickle=False) as arrays:  # a zip: reading checks its CRC
            pixels, readable = arrays["pixels"], arrays["readable"]
        os.utime(store)
    except Exception:  # missing, damaged, not ours: decoding again is the answer to each
        return None
    return (pixels, readable) if pixels.shape == (n, IMAGE_SIZE, IMAGE_SIZE, 3) and readable.shape == (n,) else None


def _to_store(store: Path, pixels: np.ndarray, readable: np.ndarray) -> None:
    """Keep the result where that is possible; the oldest of many are dropped."""
    temporary = store.with_name(f".{store.stem}-{os.getpid()}")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                np.savez(file, pixels=pixels, readable=readable)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, store)
        finally:
            temporary.unlink(missing_ok=True)
        for old in sorted(store.parent.glob("*.npz"), key=lambda path: -path.stat().st_mtime)[KEPT_CACHES:]:
            old.unlink(missing_ok=True)
    except OSError:  # it only saves time: a full or read-only disk is no reason to fail
        return


def _unreadable_sentence(root: Path, files: list[_File], readable: np.ndarray) -> str:
    bad = [_shown(file.path.relative_to(root)) for file, good in zip(files, readable) if not good]
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f" {len(bad)} could not be decoded and were left out: {', '.join(bad[:3])}{more}." if bad else ""


def _shown(path: Path) -> str:
    """A path as text that any page and file can hold: bytes that are no UTF-8 are replaced."""
    return str(path).encode(errors="replace").decode()


def _check_unreadable(root: Path, files: list[_File], readable: np.ndarray) -> None:
    bad = np.flatnonzero(~readable)
    if len(bad) > MAX_UNREADABLE * len(files):
        first = _shown(files[bad[0]].path.relative_to(root))
        raise LabError(
            f"{len(bad)} of the {len(files)} images in {root} cannot be decoded ({first} for one): repair or remove them."
        )


def _dataset(root: Path, classes: list[str], splits: dict[str, Split], left_out: str) -> ImageDataset:
    taken = [split for split in ("test", "validation") if split not in splits]
    for split in splits:
        counts = np.bincount(splits[split].labels, minlength=len(classes))
        needed = 1 + (len(taken) if split == "train" else 0)
        if counts.min() < needed:
            worst = int(counts.argmin())
            have = f"{counts[worst]} readable image{'' if counts[worst] == 1 else 's'}"
            raise LabError(
                f"The class {classes[worst]!r} has {have} for {split} in {root} and at least {needed} "
                f"{'are' if needed > 1 else 'is'} needed: add some, or remove the class."
            )
    for split, seed in (("test", TEST_SEED), ("validation", VALIDATION_SEED)):
        if split not in splits:
            pool = splits["train"]
            kept, held = hold_out(pool.labels, HELD_OUT, seed)
            splits[split] = Split(images=pool.images[held], labels=pool.labels[held])
            splits["train"] = Split(images=pool.images[kept], labels=pool.labels[kept])
    mean, std = _statistics(splits["train"].images)
    own = [split for split in ("train", "validation", "test") if split not in taken]
    sentence = f"From folders of their own: {', '.join(own)}."
    if taken:
        sentence += (
            f" Taken from those for training: {', then '.join(taken)}, each a tenth of each class of what is left (at least one "
            "image), picked by a fixed seed."
        )
    card = ImageCard(
        name=f"{FOLDER_PREFIX}{root}",
        title=root.name or str(root),
        classes=tuple(classes),
        image_size=IMAGE_SIZE,
        mean=mean,
        std=std,
        sizes={split: len(splits[split]) for split in ("train", "validation", "test")},
        split=sentence + left_out,
        source=f"The folder {root}",
        sha256={
            f"{split}_{what}": hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            for split in ("train", "validation", "test")
            for what, array in (("images", splits[split].images), ("labels", splits[split].labels))
        },
    )
    return ImageDataset(card=card, train=splits["train"], validation=splits["validation"], test=splits["test"])


def _statistics(images: np.ndarray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Per-channel mean and standard deviation of (N, H, W, 3) uint8, 0..1; exact, and without a float copy of the pixels."""
    values = np.arange(256) / 255
    counts = np.zeros((3, 256))
    for start in range(0, len(images), 10_000):
        for channel in range(3):
            counts[channel] += np.bincount(images[start : start + 10_000, ..., channel].ravel(), minlength=256)
    mean, std = [], []
    for share in counts / counts.sum(axis=1, keepdims=True):  # (256,)
        mean.append(float(share @ values))
        # A constant channel must not divide by zero later.
        std.append(max(float(np.sqrt(share @ (values - mean[-1]) ** 2)), 1 / 255))
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
