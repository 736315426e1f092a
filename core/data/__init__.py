"""Datasets: a registry, one way to load any of them, and stratified subsets. Nothing is fetched before it is asked for."""

from __future__ import annotations

import os
from functools import partial

from core.common.errors import LabError
from core.common.progress import Progress
from core.data import cifar10, generated, shakespeare, texts
from core.data import folder as folders
from core.data.dataset import NO_DATASET, UNKNOWN, Dataset, ImageDataset, Split, TextCard, TextDataset
from core.data.folder import FOLDER_PREFIX, suggested_name
from core.data.generated import GENERATED_PREFIX, list_generated
from core.data.image_uploads import stored_folders
from core.data.source import DatasetSource, DatasetStatus, Task
from core.data.splits import subset
from core.data.storage import folder_bytes
from core.data.text import MAX_TEXT_BYTES, encode
from core.data.texts import TEXT_PREFIX, convert_text, store_upload, stored_texts

__all__ = [
    "DATASETS",
    "FOLDER_PREFIX",
    "GENERATED_PREFIX",
    "MAX_TEXT_BYTES",
    "TEXT_PREFIX",
    "UNKNOWN",
    "Dataset",
    "ImageDataset",
    "Split",
    "TextCard",
    "TextDataset",
    "canonical_name",
    "convert_text",
    "dataset_sizes",
    "dataset_state",
    "dataset_status",
    "dataset_task",
    "dataset_title",
    "encode",
    "list_generated",
    "load_dataset",
    "load_images",
    "load_text",
    "store_upload",
    "stored_folders",
    "stored_texts",
    "subset",
    "suggested_name",
]


def _text_source(spec: shakespeare.TextSpec, train: int, description: str) -> DatasetSource:
    return DatasetSource(
        name=spec.name,
        title=spec.title,
        description=description,
        task="text",
        download_bytes=spec.mirrors[0].archive.size_bytes,
        load=partial(shakespeare.load, spec=spec),
        is_ready=partial(shakespeare.is_ready, spec),
        sizes=lambda: {"train": train},
        folder=partial(shakespeare.folder, spec),
    )


DATASETS: dict[str, DatasetSource] = {
    "cifar10": DatasetSource(
        name="cifar10",
        title="CIFAR-10",
        description="60,000 colour images of 32×32 pixels in ten classes, from airplane to truck.",
        task="images",
        download_bytes=cifar10.AUTHORS.archive.size_bytes,
        load=cifar10.load,
        is_ready=cifar10.is_ready,
        sizes=lambda: {"train": 45_000, "validation": 5_000, "test": 10_000},
        folder=cifar10.folder,
    ),
    "tiny_shakespeare": _text_source(
        shakespeare.TINY,
        1_003_854,
        "1.1 million characters out of the plays, the text on which character models are compared.",
    ),
    "shakespeare_complete": _text_source(
        shakespeare.COMPLETE, 4_546_931, "5 million characters: 37 plays and 5 poems in modern spelling."
    ),
}


def load_dataset(name: str, on_progress: Progress | None = None) -> Dataset:
    """Load a dataset of the registry, `folder:<path>`, `generated:<id>` or `text:<path>`, fetching it first where needed.
    Raises LabError.

    Each call reads the disk: callers that load often keep the result.
    """
    return _source(name).load(on_progress)


def load_images(name: str, on_progress: Progress | None = None) -> ImageDataset:
    """`load_dataset` for what needs images. Raises LabError, before anything is fetched, where the name is of a text."""
    dataset = _load_task(name, "images", "is a text and images are", FOLDER_PREFIX, on_progress)
    assert isinstance(dataset, ImageDataset)
    return dataset


def load_text(name: str, on_progress: Progress | None = None) -> TextDataset:
    """`load_dataset` for what needs text. Raises LabError, before anything is fetched, where the name is of images."""
    dataset = _load_task(name, "text", "holds images and a text is", TEXT_PREFIX, on_progress)
    assert isinstance(dataset, TextDataset)
    return dataset


def dataset_status(name: str) -> DatasetStatus:
    """What is on disk of a dataset, without loading it. Raises LabError for a name that is not known."""
    source = _source(name)
    folder, ready = source.folder(), source.is_ready()
    # A folder of the user's own may be anything, /usr too: a walk through it would hold up every look at it.
    own = source.name not in DATASETS
    size = 0 if own else folder_bytes(folder)
    if ready:
        place = f"in {folder}" if own else f"{size / 1e6:.0f} MB in {folder}"
        sentence = f"{source.title} is on this machine ({place})."
    else:
        sentence = f"{source.title} is fetched when it is first needed (up to {source.download_bytes / 1e6:.0f} MB)."
    return DatasetStatus(ready=ready, size_bytes=size, folder=folder, sentence=sentence)


def dataset_state(name: str) -> str:
    """A text that is another one whenever the dataset on disk is: what a loaded one may be kept by. Raises LabError."""
    return _source(name).state()


def dataset_sizes(name: str) -> dict[str, int]:
    """Images or characters of each split, as far as that is known without loading it. Raises LabError; of a folder or file
    of the user's own also where it could not be loaded."""
    return _source(name).sizes()


def dataset_task(name: str) -> Task:
    """`images` or `text`: what it holds, known without loading it. Raises LabError for a name that is not known."""
    return _source(name).task


def dataset_title(name: str) -> str:
    """Its name for people; the name itself where nothing of that name is there any more."""
    try:
        return _source(name).title
    except LabError:
        return name


def canonical_name(name: str) -> str:
    """The name that cards have for a dataset: of a folder or a text file, its whole path. The path of a .txt file alone
    is enough. Raises LabError for a name that is not known."""
    return _source(name).name


def _source(name: str) -> DatasetSource:
    if name in DATASETS:
        return DATASETS[name]
    if name.startswith(FOLDER_PREFIX):
        return folders.source(name)
    if name.startswith(GENERATED_PREFIX):
        return generated.source(name)
    if name.startswith(TEXT_PREFIX):
        return texts.source(name)
    if name.lower().endswith(".txt") and "\0" not in name and os.path.isfile(os.path.expanduser(name)):
        return texts.source(f"{TEXT_PREFIX}{name}")
    if name == NO_DATASET:
        raise LabError(
            "This network has the classes of no dataset here: choose another checkpoint, or bring it again with one."
        )
    raise LabError(
        f"There is no dataset named {name[:100]!r}: choose one of {', '.join(DATASETS)}, or {FOLDER_PREFIX}<path>, or "
        f"{GENERATED_PREFIX}<id>, or {TEXT_PREFIX}<path>."
    )


def _load_task(name: str, task: Task, mismatch: str, prefix: str, on_progress: Progress | None) -> Dataset:
    source = _source(name)
    if source.task != task:
        names = " or ".join(other for other, entry in DATASETS.items() if entry.task == task)
        raise LabError(f"{source.title} {mismatch} needed here: choose {names}, or {prefix}<path>.")
    return source.load(on_progress)
