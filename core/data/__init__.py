"""Datasets: a registry, one way to load any of them, and stratified subsets. Nothing is fetched before it is asked for."""

from __future__ import annotations

from core.data import cifar10
from core.data import folder as folders
from core.data.dataset import DatasetCard, ImageDataset, Split
from core.data.folder import FOLDER_PREFIX
from core.data.progress import OnProgress, Progress
from core.data.source import DatasetSource, DatasetStatus
from core.data.splits import subset
from core.data.storage import folder_bytes
from core.errors import LabError

__all__ = [
    "DATASETS",
    "FOLDER_PREFIX",
    "DatasetCard",
    "DatasetSource",
    "DatasetStatus",
    "ImageDataset",
    "OnProgress",
    "Progress",
    "Split",
    "canonical_name",
    "dataset_state",
    "dataset_status",
    "load_dataset",
    "subset",
]


DATASETS: dict[str, DatasetSource] = {
    "cifar10": DatasetSource(
        name="cifar10",
        title="CIFAR-10",
        description="60,000 colour pictures of 32×32 pixels in ten classes, from airplane to truck.",
        download_bytes=cifar10.SPEC.python_archive.size_bytes,
        load=cifar10.load,
        is_ready=cifar10.is_ready,
        folder=cifar10.folder,
    ),
}


def load_dataset(name: str, on_progress: OnProgress | None = None) -> ImageDataset:
    """Load a dataset of the registry or `folder:<path>`, fetching it first where needed. Raises LabError.

    Each call reads the disk: callers that load often keep the result.
    """
    return _source(name).load(on_progress)


def dataset_status(name: str) -> DatasetStatus:
    """What is on disk of a dataset, without loading it. Raises LabError for a name that is not known."""
    source = _source(name)
    folder, ready = source.folder(), source.is_ready()
    # A folder of the user's own may be anything, /usr too: a walk through it would hold up every look at it.
    own = name.startswith(FOLDER_PREFIX)
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


def canonical_name(name: str) -> str:
    """The name that cards have for a dataset: of a folder, its whole path. Raises LabError for a name that is not known."""
    return _source(name).name


def _source(name: str) -> DatasetSource:
    if name in DATASETS:
        return DATASETS[name]
    if name.startswith(FOLDER_PREFIX):
        return folders.source(name)
    raise LabError(f"There is no dataset named {name[:100]!r}: choose one of {', '.join(DATASETS)}, or folder:<path>.")
