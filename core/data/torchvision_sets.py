"""Classification datasets of torchvision by name, stored as a folder of images like those that were uploaded.

torchvision downloads and checks them; which splits there are is asked of each class's own signature. A dataset that
torchvision does not download (ImageNet) is a folder that one has: `folder:PATH`.
"""

from __future__ import annotations

import inspect
import io
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.common.access import check_writable
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home
from core.common.progress import Progress, no_progress
from core.data.image_uploads import StoredFolder, UploadedFile, store_files

if TYPE_CHECKING:
    from PIL.Image import Image

TORCHVISION_PREFIX = "torchvision:"
NAMES = (
    "CIFAR100",
    "Caltech101",
    "DTD",
    "EuroSAT",
    "FGVCAircraft",
    "FashionMNIST",
    "Flowers102",
    "GTSRB",
    "Imagenette",
    "KMNIST",
    "MNIST",
    "OxfordIIITPet",
    "RenderedSST2",
    "STL10",
    "SVHN",
    "USPS",
)
"""Those that are offered: within what is stored, and downloaded without an account. Others may be typed."""
SPLITS = {"train": ("train", "trainval"), "validation": ("val", "valid", "validation"), "test": ("test",)}
"""Our split -> what torchvision's classes call it; the first that one accepts is taken."""
LARGEST = 256
"""Shorter side, pixels, that is stored of a larger image."""


def add_torchvision(
    name: str, on_progress: Progress | None = None, *, root: Path | None = None, user: str = ""
) -> StoredFolder:
    """Download a dataset of `torchvision.datasets` and store it. root: a folder that holds its files already, as torchvision
    lays them out. Raises LabError for a name that is no classification dataset, and where it cannot be had."""
    check_writable()
    report = on_progress or no_progress
    title = name.removeprefix(TORCHVISION_PREFIX).strip()
    kind = _class_of(title)
    report(0.0, f"fetch {title}")
    home = ensure_folder(lab_home() / "data")
    temporary = None if root else Path(tempfile.mkdtemp(prefix=".torchvision-", dir=home))
    try:
        splits = _splits(kind, title, root or temporary or home)
        return store_files(_files(splits, title, report), title, user=user)
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def _class_of(title: str) -> Any:
    from torchvision import datasets

    known = {name.lower(): name for name in datasets.__all__}
    kind = getattr(datasets, known.get(title.lower(), ""), None)
    parameters = inspect.signature(kind).parameters if kind else {}
    needed = [
        name
        for name, each in parameters.items()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD and name != "root"
    ]
    if kind is None or "download" not in parameters or needed:
        raise LabError(
            f"torchvision downloads no dataset named {title[:60]!r}: choose one of {', '.join(NAMES)}, or give a folder."
        )
    return kind


def _splits(kind: Any, title: str, root: Path) -> dict[str, Any]:
    """Our names of the splits -> torchvision's datasets. One that has none is all for training."""
    parameters = inspect.signature(kind).parameters
    if "train" in parameters:
        asked: dict[str, list[dict[str, Any]]] = {"train": [{"train": True}], "test": [{"train": False}]}
    elif "split" in parameters:
        asked = {ours: [{"split": word} for word in theirs] for ours, theirs in SPLITS.items()}
    else:
        asked = {"train": [{}]}
    found = {}
    for ours, ways in asked.items():
        for options in ways:
            try:
                found[ours] = kind(root=str(root), download=True, **options)
            except ValueError:  # it has no split of this name
                continue
            except (OSError, RuntimeError, ImportError, TypeError) as error:
                reason = getattr(error, "reason", None)  # of a URLError: why, without Python's words for it
                why = str(getattr(reason, "strerror", None) or reason or error).strip().partition("\n")[0][:200]
                raise LabError(f"{title} could not be fetched ({why}): check the connection and try again.") from error
            break
    if "train" not in found:
        raise LabError(f"{title} has no split for training that can be told: choose another dataset.")
    return found


def _files(splits: dict[str, Any], title: str, report: Progress) -> Iterator[UploadedFile]:
    total, done = sum(len(dataset) for dataset in splits.values()), itertools.count(1)
    for split, dataset in splits.items():
        classes = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
        for index in range(len(dataset)):
            image, label = dataset[index]
            if not hasattr(image, "convert") or isinstance(label, tuple) or not hasattr(label, "__index__"):
                raise LabError(f"{title} has more than one label an image: choose a dataset of classes.")
            text = _class_name(classes[label]) if classes else str(int(label))
            place = f"{split}/{text.replace('/', '-').replace(':', ' ').strip()}/{index:06}"
            yield UploadedFile(place, partial(_encoded, image))
            if (number := next(done)) % 100 == 0:
                report(number / total, f"store {title}")


def _class_name(name: Any) -> str:
    """The first of several names of one class."""
    return str(name if isinstance(name, str) or not name else next(iter(name)))


def _encoded(image: Image) -> io.BytesIO:
    """A small image as it is; a large one reduced, as a JPEG, which takes a tenth of the room."""
    from PIL.Image import Resampling

    image, data = image.convert("RGB"), io.BytesIO()
    if min(image.size) <= LARGEST:
        image.save(data, "PNG")
    else:
        share = LARGEST / min(image.size)
        size = (round(share * image.width), round(share * image.height))
        image.resize(size, Resampling.LANCZOS).save(data, "JPEG", quality=95, subsampling=0)
    data.seek(0)
    return data
