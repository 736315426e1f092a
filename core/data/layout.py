"""How the images of a folder are sorted into classes and splits, in the layouts that people have. No image is decoded.

Read are: one folder per class; those below `train/`, `valid/`, `test/` (any case, Roboflow's and Kaggle's names too), or the
splits below the classes; and manifests, where there are no class folders (see core.data.manifest). Nothing is left out
unseen: what was, and what was read otherwise than it stands there, is in `Listing.notes`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.common.errors import LabError
from core.common.values import plural
from core.data.decode import SUFFIXES, image_format

SPLIT_NAMES = {
    "train": ("train", "training", "trn", "train2017"),
    "validation": ("validation", "val", "valid", "dev", "val2017"),
    "test": ("test", "testing", "tst", "evaluation", "eval", "test2017"),
}
"""Names of folders, in lower case."""
JUNK = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information", "thumbs.db")
MAX_IMAGES = 200_000
MAX_CLASSES = 1000
MAX_NAME = 100
"""Characters in the name of a class."""
MAX_DEPTH = 3
"""How many folders that hold only another folder are gone through."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    path: Path
    size_bytes: int
    stamp: str
    """Another one whenever the file is another or was touched: inode, times of content and of permissions."""
    label: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    root: Path
    """The folder given, or the one inside it that holds the images."""
    classes: tuple[str, ...]
    splits: dict[str, list[ImageFile]]
    """The files of each split that is there, in an order that depends on nothing but the names."""
    notes: tuple[str, ...]
    """What was left out or read otherwise, with counts, each a sentence."""


@dataclass(slots=True)
class Notes:
    """Counts what is left out while a folder is walked through."""

    others: Counter[str] = field(default_factory=Counter)
    junk: int = 0
    by_content: int = 0
    unlabelled: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)

    def all(self) -> tuple[str, ...]:
        found = list(self.sentences)
        if self.others:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.others.most_common(4))
            found.append(f"{plural(sum(self.others.values()), 'file')} left out, not an image ({kinds}).")
        if self.junk:
            found.append(f"{self.junk} hidden or of the system left out.")
        if self.by_content:
            found.append(f"{plural(self.by_content, 'file')} with an unusual ending read as an image.")
        for folder, count in self.unlabelled.items():
            found.append(f"{plural(count, 'image')} left out in {folder}: without a class.")
        return tuple(found)


def list_images(root: Path) -> Listing:
    """Raises LabError for a folder that cannot become a dataset, with what to do."""
    with readable(root):
        notes = Notes()
        base = _innermost(root, notes)
        folders = _split_folders(base)
        if folders and "train" not in folders:
            names = ", ".join(f"{path.name}/" for path in folders.values())
            raise LabError(f"{base} holds {names} but no train/: add it, or name the folders as classes only.")
        found = _class_folders(base, folders, notes) or _from_manifests(base, folders, notes)
        if found is None:
            raise _too_few_classes(folders.get("train", base))
        classes, splits = found
        _check(base, classes, splits)
        return Listing(root=base, classes=tuple(classes), splits=splits, notes=notes.all())


@contextmanager
def readable(root: Path) -> Iterator[None]:
    """Turns what the disk refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise LabError(
            f"{error.filename or root} cannot be read ({error.strerror}): change its permissions."
        ) from error


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is the system's and not the user's."""
    return name.startswith(".") or name.lower() in JUNK or name.lower() == "desktop.ini"


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name, without hidden ones and those of the system."""
    return sorted(item for item in folder.iterdir() if not is_junk(item.name) and item.is_dir())


def image_files(folder: Path, label: int, notes: Notes, *, deep: bool = True) -> Iterator[ImageFile]:
    """The images in a folder, and with `deep` anywhere below it; links to folders are not followed.

    A file that is called like an image is taken for one; any other is one if its first bytes say so.
    """
    for parent, folders, names in os.walk(folder, onerror=_raise):
        notes.junk += sum(map(is_junk, (*folders, *names)))
        folders[:] = sorted(name for name in folders if not is_junk(name)) if deep else []
        for name in sorted(names):
            path = Path(parent, name)
            if is_junk(name) or not path.is_file():  # a pipe would be waited for
                continue
            stat = path.stat()
            stamp = f"{stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"
            suffix = path.suffix.lower()
            if suffix not in SUFFIXES:
                if not _holds_image(path, stamp):
                    notes.others[suffix or "without ending"] += 1
                    continue
                notes.by_content += 1
            yield ImageFile(path, stat.st_size, stamp, label)


@lru_cache(maxsize=200_000)
def _holds_image(path: Path, stamp: str) -> bool:
    """Whether the first bytes are an image's. stamp: looked at again for another."""
    try:
        with path.open("rb") as file:
            return image_format(file.read(32)) is not None
    except OSError:
        return False


def split_of(name: str) -> str | None:
    """The split that a folder, a file or a column's value of this name stands for."""
    return next((split for split, names in SPLIT_NAMES.items() if name.lower() in names), None)


def _innermost(root: Path, notes: Notes) -> Path:
    """Through folders that hold nothing but one other folder, as archives often do."""
    base = root
    for _ in range(MAX_DEPTH):
        inner = subfolders(base)
        if len(inner) != 1 or split_of(inner[0].name) or _has_images(base):
            break
        if not subfolders(inner[0]) and not _manifest_like(inner[0]):
            break  # a single class
        base = inner[0]
    if base != root:
        notes.sentences.append(f"Read from the inner folder {base.relative_to(root)}.")
    return base


def _has_images(folder: Path) -> bool:
    return next(image_files(folder, 0, Notes(), deep=False), None) is not None


def _manifest_like(folder: Path) -> bool:
    return any(item.suffix.lower() in (".csv", ".json") for item in folder.iterdir())


def _split_folders(base: Path) -> dict[str, Path]:
    """The folder of each split that is there; empty where the folders are classes."""
    inner = subfolders(base)
    folders: dict[str, Path] = {}
    for path in inner:
        split = split_of(path.name)
        if split in folders:
            raise LabError(f"{base} holds both {folders[split].name}/ and {path.name}/: keep one of them as {split}/.")
        if split:
            folders[split] = path
    # A class may be called "train", as in train, car and plane.
    others = [path for path in inner if path not in folders.values()]
    if others and folders and all(not subfolders(path) and not _manifest_like(path) for path in folders.values()):
        return {}
    return folders


Found = tuple[list[str], dict[str, list[ImageFile]]]


def _class_folders(base: Path, folders: dict[str, Path], notes: Notes) -> Found | None:
    """Classes and files where they stand in a folder for each class; None where there are no such folders."""
    train = folders.get("train", base)
    names = [path.name for path in subfolders(train)]
    if len(names) < 2 or (not folders and not any(_any_image(train / name) for name in names)):
        return None
    inside = _common_subfolders(train, names) if not folders else set()
    if inside and all(split_of(name) for name in inside):
        if "train" not in {split_of(name) for name in inside}:
            raise LabError(f"Every folder in {train} holds {', '.join(sorted(inside))} but no train: add it.")
        notes.sentences.append("Read as classes with splits inside each.")
        return _classes_above_splits(train, names, notes)
    if len(inside) > 1:
        some = ", ".join(sorted(inside)[:3])
        raise LabError(
            f"Every folder in {train} holds the same folders ({some}), so those look like the classes: put the images of "
            "one class into one folder, or call the outer folders train, validation and test."
        )
    _check_names(train, names)
    if stray := _count_images(train, deep=False):
        notes.unlabelled[_shown(train, base)] = stray
    splits = {}
    for split, folder in (folders or {"train": base}).items():
        matched = _matching(folder, train, names)
        if matched is None:
            if loose := _count_images(folder):
                notes.unlabelled[_shown(folder, base)] = loose
            else:
                notes.sentences.append(f"{_shown(folder, base)} is empty.")
            continue
        if folders and folder.name != split:
            notes.sentences.append(f"{folder.name}/ is read as {split}.")
        splits[split] = [file for label, path in enumerate(matched) for file in image_files(path, label, notes)]
    for path in subfolders(base) if folders else ():
        if path not in folders.values() and (loose := _count_images(path)):
            notes.unlabelled[f"{path.name}/"] = loose
    return names, splits


def _check_names(train: Path, names: list[str]) -> None:
    if len(names) > MAX_CLASSES:
        raise LabError(f"{train} holds {len(names)} folders and at most {MAX_CLASSES} classes can be told apart.")
    _check_printable(names, f"{train} holds a class folder")


def _check_printable(names: list[str], where: str) -> None:
    """where: begins the sentence about a class name that no page could show."""
    odd = [name for name in names if not name.isprintable() or len(name) > MAX_NAME]
    if odd:
        raise LabError(f"{where} with an unusable name ({odd[0][:MAX_NAME]!a}): rename it.")


def _count_images(folder: Path, *, deep: bool = True) -> int:
    return sum(1 for _ in image_files(folder, 0, Notes(), deep=deep))


def _shown(folder: Path, base: Path) -> str:
    return f"{folder.relative_to(base)}/" if folder != base else "the folder itself"


def _any_image(folder: Path) -> bool:
    return next(image_files(folder, 0, Notes()), None) is not None


def _common_subfolders(train: Path, names: list[str]) -> set[str]:
    """The folders that every class folder holds, where all hold the same and no images beside them."""
    sets = [{path.name.lower() for path in subfolders(train / name)} for name in names]
    same = all(each == sets[0] for each in sets)
    return sets[0] if same and sets[0] and not any(_has_images(train / name) for name in names) else set()


def _classes_above_splits(train: Path, names: list[str], notes: Notes) -> Found:
    splits: dict[str, list[ImageFile]] = {}
    for label, name in enumerate(names):
        for folder in subfolders(train / name):
            files = splits.setdefault(str(split_of(folder.name)), [])
            files.extend(image_files(folder, label, notes))
    return names, splits


def _matching(folder: Path, train: Path, names: list[str]) -> list[Path] | None:
    """The folder of each class in a split, whatever its case; None where the split has no class folders, or one of no class."""
    there = subfolders(folder)
    if not there:
        return None
    by_case = {path.name.casefold(): path for path in there}
    exact = {path.name: path for path in there}
    found = [exact.get(name) or by_case.get(name.casefold()) for name in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    unknown = [path.name for path in there if path not in found]
    if len(there) == 1 and unknown:  # test/unknown/…, as contests have it: no labels
        return None
    if missing or unknown:
        raise LabError(
            f"{folder} and {train} hold different class folders ({(missing or unknown)[0]!r} is in one of them only): give "
            "both the same."
        )
    return [path for path in found if path is not None]


def _from_manifests(base: Path, folders: dict[str, Path], notes: Notes) -> Found | None:
    from core.data.manifest import read_manifests

    rows = read_manifests(base, folders, notes)
    if rows is None:
        return None
    names = sorted({row.label for row in rows})
    _check_printable(names, f"The list of images in {base} holds a class")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise LabError(
            f"The list of images in {base} names {len(names)} classes and 2 to {MAX_CLASSES} are needed: correct its column "
            "of labels."
        )
    number = {name: label for label, name in enumerate(names)}
    splits: dict[str, list[ImageFile]] = {}
    for row in sorted(rows, key=lambda row: (number[row.label], str(row.file.path))):
        file = row.file
        labelled = ImageFile(file.path, file.size_bytes, file.stamp, number[row.label])
        splits.setdefault(row.split, []).append(labelled)
    return names, splits


def _too_few_classes(train: Path) -> LabError:
    count = len(subfolders(train))
    found = "1 class folder" if count else "no class folders"
    if count > 1:
        return LabError(f"{train} holds {count} folders and no image in them: give the folder that holds the images.")
    return LabError(
        f"{train} holds {found} and at least 2 are needed: make a folder for each class, or add a CSV file with the columns "
        "file and label."
    )


def _check(base: Path, classes: list[str], splits: dict[str, list[ImageFile]]) -> None:
    if "train" not in splits:
        raise LabError(f"{base} has no training images with classes: add some.")
    for split, files in splits.items():
        counts = np.bincount([file.label for file in files], minlength=len(classes))
        if not counts.all():
            raise LabError(
                f"The class {classes[int(counts.argmin())]!r} has no image for {split} in {base}: add some, or remove the class."
            )
    total = sum(map(len, splits.values()))
    if total > MAX_IMAGES:
        raise LabError(f"{base} holds {total} images and at most {MAX_IMAGES} are loaded: give a smaller folder.")


def _raise(error: OSError) -> None:
    raise error
