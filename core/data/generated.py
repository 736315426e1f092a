"""Images that a network generated as a dataset: `generated:<id>`.

Its training images are the generated ones; classes, validation and test images are those of the dataset that the generator
learned from. So the test accuracy of a network that trains on it alone is the classification accuracy score of the generator
(Ravuri & Vinyals, arXiv:1905.10887).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Progress
from core.common.settings import Count, Name, Seed, Settings
from core.common.values import one_line, read_json
from core.data.dataset import ImageCard, ImageDataset, Split
from core.data.folder import channel_statistics
from core.data.source import DatasetSource
from core.data.storage import readable_disk_errors, temporary_folder

GENERATED_PREFIX = "generated:"
IDS = re.compile(r"[A-Za-z0-9_-]{1,80}")
CARD, IMAGES, LABELS = "card.json", "images.npy", "labels.npy"
MAX_CARD_BYTES = 20_000
MAX_IMAGES = 500_000
MAX_BYTES = 4 * 10**9
"""Of a file of pixels."""
TITLE_CHARACTERS = 100
DAMAGED = (OSError, ValueError, TypeError, EOFError, OverflowError, MemoryError)
"""What reading an array raises that anyone may have written."""


class GeneratedCard(Settings):
    """What is known of a set of generated images."""

    title: Name
    """For people."""
    base: Name
    """Dataset whose classes, validation and test images the set takes over."""
    checkpoint: Name
    """The generator."""
    weights_sha256: str = ""
    """Checksum of its weights."""
    guidance: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How far samples are pushed towards their class; 1 = as the generator learned it."""
    steps: Count = 1
    """Of the solver."""
    seed: Seed = 0
    trained_on: Annotated[int, Field(ge=0)]
    """Real images that the generator saw."""
    count: Annotated[int, Field(ge=1, le=MAX_IMAGES)]
    """Images of the set."""
    user: str = ""
    """Whose it is, see core.jobs.quota."""


def home() -> Path:
    return lab_home() / "generated"


def write_generated(set_id: str, images: np.ndarray, labels: np.ndarray, card: GeneratedCard) -> str:
    """Keep a set of generated images; the name of its dataset. One of the same id is replaced.

    images: (N, H, W, 3) uint8; labels: (N,) int64. Raises LabError for arrays of another form.
    """
    folder = set_folder(set_id)
    if problem := _form_problem(images, labels) or _count_problem(labels, card):
        raise LabError(f"These images cannot be kept as a dataset ({problem}): generate them again.")
    if card.base.startswith(GENERATED_PREFIX):
        raise LabError(
            f"A set of generated images needs a dataset of real ones to be tested on, not {card.base[:100]}."
        )
    with readable_disk_errors(folder.parent):
        new = temporary_folder(folder.parent)
        try:
            np.save(new / IMAGES, np.ascontiguousarray(images), allow_pickle=False)
            np.save(new / LABELS, np.ascontiguousarray(labels), allow_pickle=False)
            (new / CARD).write_text(json.dumps(card.to_dict(), indent=1) + "\n")
            if folder.exists():
                folder.rename(new / "old")
            new.rename(folder)
            shutil.rmtree(folder / "old", ignore_errors=True)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    return f"{GENERATED_PREFIX}{set_id}"


def delete_generated(set_id: str) -> None:
    """Remove a set. Raises LabError where the disk refuses."""
    folder = set_folder(set_id)
    with readable_disk_errors(folder.parent):
        doomed = temporary_folder(folder.parent)
        folder.rename(doomed / "old")  # at once: nobody finds half of it
        shutil.rmtree(doomed)


def list_generated() -> list[DatasetSource]:
    """The sets that there are, the newest first. One with a damaged card is left out."""
    found = []
    for folder in home().glob("*/"):
        try:
            if IDS.fullmatch(folder.name):
                name = f"{GENERATED_PREFIX}{folder.name}"
                found.append(((folder / CARD).stat().st_mtime_ns, name, source(name)))
        except (LabError, OSError):  # removed just now, or not ours
            continue
    return [entry for _, _, entry in sorted(found, key=lambda item: (-item[0], item[1]))]


def read_card(name: str) -> GeneratedCard:
    """The card of `generated:<id>`. Raises LabError where there is none, or it is damaged."""
    folder = set_folder(name.removeprefix(GENERATED_PREFIX))
    path = folder / CARD
    if not folder.is_dir():
        raise LabError(f"There are no generated images named {folder.name}: generate them, or choose another dataset.")
    try:
        with path.open("rb") as file:
            card = GeneratedCard.from_dict(read_json(file.read(MAX_CARD_BYTES)))
    except (OSError, ValueError) as error:
        raise _damaged(folder, "its card cannot be read") from error
    if card.base.startswith(GENERATED_PREFIX):
        raise _damaged(folder, "its base is another generated set")
    return card.replace(title=one_line(card.title, TITLE_CHARACTERS) or folder.name)


def source(name: str) -> DatasetSource:
    """The entry that the registry would have for `generated:<id>`. Raises LabError where there is none."""
    from core.data import dataset_sizes, dataset_state, dataset_status

    folder, card = set_folder(name.removeprefix(GENERATED_PREFIX)), read_card(name)

    def state() -> str:
        return " ".join([*map(_stamp, (folder / part for part in (CARD, IMAGES, LABELS))), dataset_state(card.base)])

    return DatasetSource(
        name=f"{GENERATED_PREFIX}{folder.name}",
        title=card.title,
        description=_origin(card),
        task="images",
        load=partial(load, name),
        is_ready=lambda: (folder / IMAGES).is_file() and dataset_status(card.base).ready,
        folder=lambda: folder,
        sizes=lambda: dataset_sizes(card.base) | {"train": card.count},
        state=state,
    )


def load(name: str, on_progress: Progress | None = None) -> ImageDataset:
    """The generated images for training, and the real ones of the base for validation and test. Raises LabError."""
    from core.data import load_images

    folder, card = set_folder(name.removeprefix(GENERATED_PREFIX)), read_card(name)
    images, labels = _read(folder / IMAGES), _read(folder / LABELS)
    if problem := _form_problem(images, labels) or _count_problem(labels, card):
        raise _damaged(folder, problem)
    base = load_images(card.base, on_progress)
    side, classes = base.card.image_size, len(base.card.classes)
    if images.shape[1:3] != (side, side):
        problem = f"images of {images.shape[1]}×{images.shape[2]} pixels, where {base.card.title} has {side}×{side}"
    if not problem and not (labels.min() >= 0 and labels.max() < classes):
        problem = f"labels outside 0 to {classes - 1}"
    if problem:
        raise _damaged(folder, problem)
    mean, std = channel_statistics(images)
    checksums = {
        f"generated_{what}": hashlib.sha256(array.data).hexdigest()
        for what, array in (("images", images), ("labels", labels))
    }
    return ImageDataset(
        card=ImageCard(
            name=f"{GENERATED_PREFIX}{folder.name}",
            title=card.title,
            classes=base.card.classes,
            image_size=side,
            fit=base.card.fit,
            sizes=base.card.sizes | {"train": len(labels)},
            split=f"Training images are generated; validation and test images are those of {base.card.title}.",
            source=_origin(card),
            sha256=base.card.sha256 | checksums,
            mean=mean,
            std=std,
        ),
        train=Split(images=images, labels=labels),
        validation=base.validation,
        test=base.test,
    )


def _origin(card: GeneratedCard) -> str:
    return (
        f"{card.count:,} images generated by {card.checkpoint}, which learned from {card.trained_on:,} real ones "
        f"(guidance {card.guidance:g}, {card.steps:,} steps, seed {card.seed})."
    )


def set_folder(set_id: str) -> Path:
    """Where a set is kept. Raises LabError for an id that is not valid."""
    if not IDS.fullmatch(set_id):
        raise LabError(
            f"{set_id[:80]!r} is no name of generated images: use 1 to 80 letters, digits, hyphens or underscores."
        )
    return home() / set_id


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def _read(path: Path) -> np.ndarray:
    """An array in memory, in C order. It is mapped first, so that a header cannot claim more than the file holds."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _damaged(path.parent, f"{path.name} has more than {MAX_BYTES / 1e9:g} GB")
        mapped: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(mapped, order="C")
    except LabError:
        raise
    except DAMAGED as error:
        raise _damaged(path.parent, f"{path.name} cannot be read") from error


def _form_problem(images: np.ndarray, labels: np.ndarray) -> str:
    """Why two arrays are no labelled images; empty where they are."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        return f"images are {images.dtype} of shape {images.shape}, not uint8 (N, H, W, 3)"
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        return f"labels are {labels.dtype} of shape {labels.shape}, not int64 ({len(images)},)"
    if not 1 <= len(labels) <= MAX_IMAGES or images.nbytes > MAX_BYTES:
        return f"{len(labels):,} images, where 1 to {MAX_IMAGES:,} and at most {MAX_BYTES / 1e9:g} GB are allowed"
    return ""


def _count_problem(labels: np.ndarray, card: GeneratedCard) -> str:
    return f"{len(labels):,} images, where its card says {card.count:,}" if len(labels) != card.count else ""


def _damaged(folder: Path, why: str) -> LabError:
    return LabError(f"The generated images in {folder} are damaged ({why}): generate them again.")
