"""`data`, `models`, `checkpoints`: what there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any

from cyclopts import App, Parameter

from core.common.commands import Json
from core.common.errors import LabError
from core.common.output import Bar, note, print_json, print_table
from core.data.encodings import ENCODINGS, EncodingError
from core.data.normalize import changes_sentence

DatasetName = Annotated[
    str, Parameter(help="cifar10, tiny_shakespeare, shakespeare_complete, folder:PATH or text:PATH.")
]

EncodingName = Annotated[
    str | None, Parameter(choices=tuple(ENCODINGS), help="Of a text file that is not UTF-8, as in cp1252.")
]

data = App(name="data", help="List, fetch, add and check datasets.")


@data.command(name="list")
def list_datasets(*names: DatasetName, as_json: Json = False) -> None:
    """Say whether datasets are on this machine: those NAMES, or all."""
    from core.data import DATASETS, dataset_status

    rows: list[dict[str, Any]] = []
    for name in names or DATASETS:
        status = dataset_status(name)
        rows.append(
            {
                "name": name,
                "title": DATASETS[name].title if name in DATASETS else name,
                "ready": status.ready,
                "size_bytes": status.size_bytes,
                "folder": str(status.folder),
                "message": status.sentence,
            }
        )
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{row['name']}: {row['message']}")


@data.command(name="fetch")
def fetch_datasets(*names: DatasetName, as_json: Json = False) -> None:
    """Fetch datasets that are not on this machine, and check them: those NAMES, or all."""
    from core.data import DATASETS

    for name in names or DATASETS:
        load_with_bar(name)
    list_datasets(*names, as_json=as_json)


@data.command(name="add")
def add_images(path: Path, *, title: str = "", root: Path | None = None, as_json: Json = False) -> None:
    """Store a zip archive or a folder of photos as a dataset, or one of torchvision's.

    Args:
        path: The archive, the folder that holds one folder per class, or torchvision:NAME, as in torchvision:CIFAR100.
        title: What it is called; by default the name of the file.
        root: For torchvision:NAME, a folder that holds its files already; without it they are downloaded.
    """
    from core.data.image_uploads import UploadedFile, store_files, store_zip
    from core.data.torchvision_sets import TORCHVISION_PREFIX, add_torchvision

    with Bar() as bar:
        if str(path).startswith(TORCHVISION_PREFIX):
            stored = add_torchvision(str(path), bar.show, root=root)
        elif path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.is_file())
            files = (UploadedFile(file.relative_to(path).as_posix(), partial(_opened, file)) for file in found)
            total = sum(file.stat().st_size for file in found)
            stored = store_files(files, title or path.name, total, bar.show)
        else:
            try:
                with path.open("rb") as archive:
                    stored = store_zip(archive, title or path.name, bar.show)
            except OSError as error:
                raise LabError(f"{path} cannot be read ({error.strerror}): give a zip archive or a folder.") from error
    if as_json:
        print_json({"name": stored.name, "title": stored.title, "images": stored.images, "left_out": stored.left_out})
        return
    print(f"{stored.name}: {stored.images} images.")
    for sentence in stored.left_out:
        note(sentence)


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


@data.command(name="check")
def check_images(name: str, *, as_json: Json = False) -> None:
    """Say what is wrong with a folder of images: duplicates, leaks between splits, unreadable files, small classes.

    Args:
        name: folder:PATH, with ?size=96 behind it for another image size than 32.
    """
    from core.data.audit import audit
    from core.data.folder import read

    found = audit(read(name))
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    for split, numbers in found.counts.items():
        each = ", ".join(f"{title} {number}" for title, number in zip(found.classes, numbers, strict=True))
        print(f"{split}: {sum(numbers)} images ({each})")
    for finding in found.findings:
        print(f"{finding.severity}: {finding.sentence}")
        for group in finding.groups[:10]:
            print(f"  {' = '.join(group)}")
    for sentence in found.notes:
        note(sentence)


@data.command(name="delete")
def delete_images(path: Path) -> None:
    """Delete photos that were added here.

    Args:
        path: Their folder, as `data add` names it.
    """
    from core.data.folder import delete_photos

    delete_photos(Path(str(path).removeprefix("folder:")))
    print(f"{path} is deleted.")


def models(*, as_json: Json = False) -> None:
    """List architectures and their recipes."""
    from core.models import model_info
    from core.training.recipes import RECIPES, describe_recipe

    rows = [
        row | {"recipes": {name: describe_recipe(row["name"], name) for name in RECIPES.get(row["name"], {})}}
        for row in model_info()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(
            f"{row['name']} ({row['task']}): {row['description']} {row['parameters']:,} parameters. Source: {row['source']}."
        )
        for name, described in row["recipes"].items():
            print(f"  {name}: {described}")


def checkpoints(*, as_json: Json = False) -> None:
    """List checkpoints, those that ship and those of runs."""
    from core.checkpoints.store import list_checkpoints

    rows = [
        {
            "name": ref.name,
            "title": ref.card.title,
            "origin": ref.origin,
            "task": ref.card.task,
            "model": ref.card.model,
            "dataset": ref.card.dataset.name,
            "test_accuracy": ref.card.metrics.get("test_accuracy"),
            "val_accuracy": ref.card.metrics.get("val_accuracy"),
            "val_loss_nats": ref.card.metrics.get("val_loss_nats"),
            "parameters": ref.card.parameters,
            "size_bytes": ref.card.size_bytes,
            "folder": str(ref.folder),
        }
        for ref in list_checkpoints()
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        note("No checkpoints yet. Train one: python -m core train")
    columns = ["name", "title", "origin", "task", "model", "test_accuracy", "val_loss_nats", "parameters", "size_bytes"]
    print_table(rows, columns)


def load_with_bar(name: str, task: str | None = None) -> Any:
    """Load a dataset; where it has to be fetched, with progress on stderr. task: `images` or `text`, what it must hold;
    None: anything. Raises LabError."""
    from core.data import load_dataset, load_images, load_text

    load = {None: load_dataset, "images": load_images, "text": load_text}[task]
    stage = [""]

    def show(fraction: float, words: str) -> None:
        new = words.partition(" (")[0]
        bar.show(fraction or None, words, now=new != stage[0])
        stage[0] = new

    with Bar() as bar:
        return load(name, show)


@contextmanager
def name_encoding_flag() -> Iterator[None]:
    """Say in the error for a text that is not UTF-8 which flag reads it."""
    try:
        yield
    except EncodingError as error:
        name = error.guess or "NAME, one of those that --help lists"
        raise LabError(f"{error.title} {error.what}: add --encoding {name}.") from error


def note_changes(title: str, changes: dict[str, int]) -> None:
    """Say on stderr what was written otherwise in a text."""
    if changes:
        note(f"{title}: {changes_sentence(changes)}")


def how_to_get(name: str) -> str:
    """What to do about a dataset that is not on this machine."""
    from core.data import DATASETS

    return f"fetch it with python -m core data fetch {name}" if name in DATASETS else "put it back where it was"
