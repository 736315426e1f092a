"""A folder of images of the user's own as a dataset: `folder:PATH`, with `?size=96` and `&fit=whole` behind it.

Splits that are there are taken as they are; test and validation, where one is missing, are a stratified, seeded tenth of the
training images. core.data.layout says which layouts are read.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from core.common.errors import LabError
from core.common.paths import write_atomic
from core.common.progress import Progress
from core.common.values import plural
from core.data import image_uploads
from core.data.dataset import Fit, ImageCard, ImageDataset, Split
from core.data.decode import shorter_side
from core.data.image_cache import DecodedFiles, Facts, cache_folder, cache_key, read_images
from core.data.layout import ImageFile, Listing, list_images
from core.data.source import DatasetSource, path_behind
from core.data.splits import hold_out

FOLDER_PREFIX = "folder:"
IMAGE_SIZES = (32, 64, 96, 128, 160, 224)
"""Side of a model input, pixels."""
IMAGE_SIZE = 32
SUGGESTED = 160
"""Enough for most photos; training at 224 takes twice the time."""
HELD_OUT = 0.1
TEST_SEED, VALIDATION_SEED = 20092, 20093
MAX_UNREADABLE = 0.1
"""A larger share (0..1) of unreadable images means that something is wrong with the folder."""
OPTIONS = re.compile(r"\?(?=[sf])(size=[0-9]{1,4})?&?(fit=[a-z]{1,9})?$")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class FolderName:
    """What `folder:<path>?size=…&fit=…` says."""

    root: Path
    size: int = IMAGE_SIZE
    fit: Fit = "crop"

    def __str__(self) -> str:
        options = [f"size={self.size}"] * (self.size != IMAGE_SIZE) + [f"fit={self.fit}"] * (self.fit != "crop")
        return f"{FOLDER_PREFIX}{self.root}" + f"?{'&'.join(options)}" * bool(options)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReadFolder:
    """A folder as it was read: the dataset, and what a report on it needs."""

    dataset: ImageDataset
    listing: Listing
    files: list[ImageFile]
    """All N of them, readable or not: those of training, validation, test, one split behind the other."""
    splits: np.ndarray
    """(N,) place in SPLITS of each file."""
    facts: Facts


def parse_name(name: str) -> FolderName:
    """Raises LabError where there is no such folder, or a size or fit that is not offered."""
    folder = parse_path(name)
    try:
        found = folder.root.is_dir()
    except OSError as error:
        raise LabError(f"{folder.root} cannot be read ({error.strerror}): change its permissions.") from error
    if not found and image_uploads.is_stored(folder.root):
        raise LabError("The photos of this dataset were deleted: add them again, or choose another dataset.")
    if not found:
        raise LabError(f"There is no folder {folder.root}: give the folder that holds train/ or the class folders.")
    return folder


def parse_path(name: str) -> FolderName:
    """`parse_name` without a look at the disk."""
    size, fit = IMAGE_SIZE, "crop"
    if options := OPTIONS.search(name):
        size = int((options[1] or f"={IMAGE_SIZE}").partition("=")[2])
        fit = (options[2] or "=crop").partition("=")[2]
        name = name[: options.start()]
    if size not in IMAGE_SIZES:
        raise LabError(f"Images of {size} pixels are not offered: choose one of {', '.join(map(str, IMAGE_SIZES))}.")
    if fit not in get_args(Fit):
        raise LabError(f"fit={fit} is not offered: choose crop (the central square) or whole (the whole image).")
    root = path_behind(FOLDER_PREFIX, name, what="folder", example="/home/me/images")
    return FolderName(root, size, cast(Fit, fit))


def source(name: str) -> DatasetSource:
    """The entry that the registry would have for `folder:<path>`. Raises LabError where there is no such folder."""
    found = parse_name(name)
    return DatasetSource(
        name=str(found),
        title=_title(found),
        description=f"Class folders in {found.root}.",
        task="images",
        load=partial(load, name),
        is_ready=found.root.is_dir,
        sizes=partial(sizes, name),
        state=partial(state, name),
        folder=lambda: found.root,
    )


def suggested_name(name: str) -> str:
    """`folder:<path>` with the largest image size, up to SUGGESTED, that half of its images have. Looks into the headers of
    some. Raises LabError as `load`."""
    folder = parse_name(name)
    files = [file for split in list_images(folder.root).splits.values() for file in split]
    sides = [side for file in files[:: max(1, len(files) // 32)] if (side := shorter_side(file.path))]
    largest = [size for size in IMAGE_SIZES if sides and size <= min(SUGGESTED, float(np.median(sides)))]
    return str(replace(folder, size=max(largest, default=IMAGE_SIZE)))


def load(name: str, on_progress: Progress | None = None) -> ImageDataset:
    """Read and decode a folder of images. Raises LabError for anything that cannot become a dataset.

    The decoded pixels are kept in `lab_home()/data/folders` until a file is added, removed or changed.
    """
    return read(name, on_progress).dataset


def read(name: str, on_progress: Progress | None = None) -> ReadFolder:
    """`load`, with what was seen of each file."""
    folder = parse_name(name)
    listing = list_images(folder.root)
    splits = _with_held_out(listing)
    files = [file for split in SPLITS for file in splits[split]]
    images = read_images(files, folder.size, folder.fit, on_progress)
    _check_unreadable(folder.root, files, images.facts)
    dataset = _dataset(folder, listing, splits, files, images)
    if dataset is None:  # what was kept on disk is damaged
        shutil.rmtree(cache_folder(cache_key(files, folder.size, folder.fit)), ignore_errors=True)
        images = read_images(files, folder.size, folder.fit, on_progress)
        dataset = _dataset(folder, listing, splits, files, images)
    if dataset is None:
        raise LabError(f"What is kept of {folder.root} is damaged again and again: check the disk of LAB_HOME.")
    numbers = np.repeat(np.arange(len(SPLITS)), [len(splits[split]) for split in SPLITS])
    return ReadFolder(dataset=dataset, listing=listing, files=files, splits=numbers, facts=images.facts)


def sizes(name: str) -> dict[str, int]:
    """Images of each split, without opening any: those that cannot be decoded count too. Raises LabError as `load`."""
    return {split: len(files) for split, files in _with_held_out(list_images(parse_name(name).root)).items()}


def state(name: str) -> str:
    """Another text whenever an image was added, removed or changed, without opening any. Raises LabError as `load`."""
    folder = parse_name(name)
    files = [file for split in list_images(folder.root).splits.values() for file in split]
    return cache_key(files, folder.size, folder.fit)


def delete_photos(root: Path) -> None:
    """Remove an uploaded folder and what was decoded of it. Raises LabError as `delete_stored`."""
    try:
        splits = _with_held_out(list_images(root))
    except LabError:  # it never became a dataset
        splits = {}
    files = [file for split in SPLITS for file in splits.get(split, ())]
    keys = [cache_key(files, size, fit) for size in IMAGE_SIZES for fit in get_args(Fit)] if files else []
    image_uploads.delete_stored(root)
    for key in keys:
        shutil.rmtree(cache_folder(key), ignore_errors=True)


def _title(folder: FolderName) -> str:
    return image_uploads.title_of(folder.root) or folder.root.name or str(folder.root)


def _with_held_out(listing: Listing) -> dict[str, list[ImageFile]]:
    """The files of all three splits; those that are missing are taken from the training images."""
    splits = dict(listing.splits)
    taken = [split for split in ("test", "validation") if split not in splits]
    counts = np.bincount([file.label for file in splits["train"]], minlength=len(listing.classes))
    if counts.min() < 1 + len(taken):
        worst = int(counts.argmin())
        raise LabError(
            f"The class {listing.classes[worst]!r} has {plural(counts[worst], 'image')} for training in {listing.root} and at "
            f"least {1 + len(taken)} are needed: add some, or remove the class."
        )
    for split, seed in (("test", TEST_SEED), ("validation", VALIDATION_SEED)):
        if split not in splits:
            pool = splits["train"]
            kept, held = hold_out(np.array([file.label for file in pool]), HELD_OUT, seed)
            splits[split] = [pool[index] for index in held]
            splits["train"] = [pool[index] for index in kept]
    return splits


def _check_unreadable(root: Path, files: list[ImageFile], facts: Facts) -> None:
    if len(facts.errors) > MAX_UNREADABLE * len(files):
        first, why = min(facts.errors.items())
        raise LabError(
            f"{len(facts.errors)} of the {len(files)} images in {root} cannot be decoded ({shown(files[first].path, root)}: "
            f"{why.partition(':')[0]}): repair or remove them."
        )


def shown(path: Path, root: Path) -> str:
    """A path as text that any page and file can hold: bytes that are no UTF-8 are replaced."""
    return str(path.relative_to(root)).encode(errors="replace").decode()


def _dataset(
    folder: FolderName,
    listing: Listing,
    members: dict[str, list[ImageFile]],
    files: list[ImageFile],
    images: DecodedFiles,
) -> ImageDataset | None:
    """None where the pixels are not those that were kept."""
    splits, start, first = {}, 0, 0
    for split in SPLITS:
        readable = images.facts.readable[start : start + len(members[split])]
        good = [file for file, fine in zip(members[split], readable, strict=True) if fine]
        labels = np.array([file.label for file in good], dtype=np.int64)
        counts = np.bincount(labels, minlength=len(listing.classes))
        if not counts.all():
            raise LabError(
                f"The class {listing.classes[int(counts.argmin())]!r} has no readable image for {split} in {folder.root}: add "
                "some, or remove the class."
            )
        splits[split] = Split(
            images=images.pixels[first : first + len(good)],
            labels=labels,
            files=tuple(shown(file.path, listing.root) for file in good),
        )
        start, first = start + len(members[split]), first + len(good)
    measured = _measured(splits, cache_folder(cache_key(files, folder.size, folder.fit)) / "card.json")
    if measured is None:
        return None
    card = ImageCard(
        name=str(folder),
        title=_title(folder),
        classes=listing.classes,
        image_size=folder.size,
        fit=folder.fit,
        sizes={split: len(splits[split]) for split in SPLITS},
        split=_split_sentence(listing) + _left_out(listing.root, files, images.facts),
        source="Photos that were uploaded here" if image_uploads.title_of(folder.root) else f"The folder {folder.root}",
        **measured,
    )
    return ImageDataset(card=card, **splits)


def _split_sentence(listing: Listing) -> str:
    own = [split for split in SPLITS if split in listing.splits]
    taken = [split for split in ("test", "validation") if split not in listing.splits]
    sentences = [f"From folders of their own: {', '.join(own)}."] if len(own) > 1 else []
    if taken:
        sentences.append(
            f"Taken from the training images: {', then '.join(taken)}, each a tenth of each class of what is left (at least one "
            "image), picked by a fixed seed."
        )
    return " ".join(sentences)


def _left_out(root: Path, files: list[ImageFile], facts: Facts) -> str:
    bad = [shown(files[index].path, root) for index in sorted(facts.errors)]
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f" {len(bad)} could not be decoded and were left out: {', '.join(bad[:3])}{more}." if bad else ""


def _measured(splits: dict[str, Split], kept: Path) -> dict[str, Any] | None:
    """Checksums and statistics for the card. None where they are not those that were kept beside the pixels."""
    checksums = {
        f"{split}_{what}": hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        for split in SPLITS
        for what, array in (("images", splits[split].images), ("labels", splits[split].labels))
    }
    try:
        known = json.loads(kept.read_text())
        if known["sha256"] != checksums:
            return None
        return {"sha256": checksums, "mean": tuple(known["mean"]), "std": tuple(known["std"])}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    mean, std = channel_statistics(splits["train"].images)
    found = {"sha256": checksums, "mean": mean, "std": std}
    if kept.parent.is_dir():
        try:
            write_atomic(kept, json.dumps(found).encode())
        except OSError:  # it only saves time
            pass
    return found


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Per-channel mean and standard deviation of (N, H, W, 3) uint8, 0..1; exact, and without a float copy of the pixels."""
    values = np.arange(256) / 255
    counts = np.zeros((3, 256))
    for start in range(0, len(images), 1000):
        for channel in range(3):
            counts[channel] += np.bincount(images[start : start + 1000, ..., channel].ravel(), minlength=256)
    mean, std = [], []
    for share in counts / counts.sum(axis=1, keepdims=True):  # (256,)
        mean.append(float(share @ values))
        # A constant channel must not divide by zero later.
        std.append(max(float(np.sqrt(share @ (values - mean[-1]) ** 2)), 1 / 255))
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
