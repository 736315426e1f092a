"""Imported networks: a file is read and tried in a separate process, and kept as a checkpoint under `lab_home()/networks`."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

import numpy as np

from core.checkpoints.store import CARD, NETWORKS, CheckpointRef, list_checkpoints, read_card
from core.common.access import check_writable
from core.common.child import Child, ChildFailed
from core.common.errors import LabError
from core.common.paths import lab_home, write_atomic
from core.common.progress import Progress, no_progress
from core.common.values import one_line, read_json
from core.data.dataset import ImageCard
from core.data.storage import readable_disk_errors, temporary_folder
from core.networks.choices import Choices

MAX_BYTES = 1_000_000_000
"""Of a file."""
LIMIT_S = 180.0
"""For reading a file, and for trying it."""
MODULE = "core.networks.worker"
FACTS = "facts.json"
"""Also of a file that is not kept yet, to say whose it is."""
FILE, MADE, IMAGE = "file", "made", "image.npy"
ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9-]{1,40}-[0-9a-f]{6}")
_TURN = threading.Semaphore(1)
"""One file is tried at a time: each may take gigabytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A file as it came, and what it is."""

    folder: Path
    """Hidden, and removed by `discard` or `keep`."""
    name: str
    facts: dict[str, Any]
    """`kind` (`onnx`, `weights` or `checkpoint`), and what the file says of itself, see core.networks.onnx_file.Facts."""
    user: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A network that answered."""

    given: Given
    answer: dict[str, Any]
    """`top`: the likeliest classes with their probabilities; `notes`; differences from ONNX Runtime."""


def folder() -> Path:
    return lab_home() / NETWORKS


def receive(source: IO[bytes], name: str, on_progress: Progress = no_progress, *, user: str = "") -> Given:
    """Write a file down and say what it is. user: whose it is, see core.jobs.quota. Raises LabError for one that is too large, or
    is no network."""
    check_writable()
    with readable_disk_errors(folder()):
        place = temporary_folder(folder())
        with _removed_on_error(place):
            write_atomic(place / FACTS, json.dumps({"user": user}))
            size = 0
            with (place / FILE).open("xb") as file:
                while part := source.read(1 << 20):
                    size += len(part)
                    if size > MAX_BYTES:
                        raise LabError(f"The file is larger than the {MAX_BYTES / 1e9:g} GB that are taken.")
                    file.write(part)
            facts = _ask({"what": "inspect", "file": str(place / FILE), "name": name}, "reading the file", on_progress)
            return Given(folder=place, name=name, facts=facts, user=user)


def attempt(
    given: Given,
    choices: Choices,
    *,
    dataset: ImageCard | None = None,
    image: np.ndarray | None = None,
    on_progress: Progress = no_progress,
) -> Tried:
    """Make the checkpoint and ask it. dataset: the card of that of the choices. image: (H, W, 3) uint8 to answer first.
    Raises LabError; the file is still there then."""
    check_writable()
    _still_there(given)
    with readable_disk_errors(folder()):
        made = given.folder / MADE
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        if image is not None:
            np.save(given.folder / IMAGE, image, allow_pickle=False)
        answer = _ask(
            {
                "what": "prepare",
                "file": str(given.folder / FILE),
                "name": given.name,
                "kind": given.facts["kind"],
                "folder": str(made),
                "choices": choices.to_dict(),
                "dataset": None if dataset is None else dataset.to_dict(),
                "image": None if image is None else str(given.folder / IMAGE),
            },
            "asking the network",
            on_progress,
        )
        write_atomic(made / FACTS, json.dumps({"name": given.name} | given.facts | answer | {"user": given.user}))
        return Tried(given=given, answer=answer)


def keep(tried: Tried) -> str:
    """Keep what answered, under a title that nothing else has; its name as a checkpoint. Raises LabError."""
    check_writable()
    _still_there(tried.given)
    made = tried.given.folder / MADE
    card = read_card(made)
    title = _free_title(one_line(card.title, 100) or "Network")
    stem = re.sub(r"[^a-z0-9]+", "-", tried.given.name.rpartition(".")[0].lower()).strip("-")[:40].strip("-")
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{stem or 'network'}-{secrets.token_hex(3)}"
    with readable_disk_errors(folder()):
        if title != card.title:
            write_atomic(made / CARD, dataclasses.replace(card, title=title).to_json())
        made.rename(folder() / name)
    discard(tried.given)
    return name


def _free_title(title: str) -> str:
    """The title, with a number behind where a checkpoint has it already."""
    taken = {reference.card.title for reference in list_checkpoints()}
    stem = re.sub(r" \(\d+\)$", "", title)[:90]
    numbered = (f"{stem} ({number})" for number in count(2))
    return next(each for each in chain([title], numbered) if each not in taken)


def _still_there(given: Given) -> None:
    if not (given.folder / FILE).is_file():  # a day later it is removed
        raise LabError("The file is not here any more: give it again.")


def discard(given: Given) -> None:
    shutil.rmtree(given.folder, ignore_errors=True)


def kept_networks() -> list[CheckpointRef]:
    """The newest first."""
    return [reference for reference in list_checkpoints() if reference.origin == "network"]


def facts_of(name: str) -> dict[str, Any]:
    """What was found of a kept network when it came; empty where that is lost."""
    with suppress(OSError, ValueError):
        found = read_json((_path(name) / FACTS).read_text())
        if isinstance(found, dict):
            found.pop("user", None)  # nobody's business but the quota's
            return found
    return {}


def delete(name: str) -> None:
    """Raises LabError for a name that is not that of a kept network, and where the disk refuses."""
    check_writable()
    path = _path(name)
    with readable_disk_errors(path), suppress(FileNotFoundError):  # another session was quicker
        shutil.rmtree(path)


def _path(name: str) -> Path:
    path = folder() / name
    if not ID.fullmatch(name) or not path.is_dir():
        raise LabError(f"There is no network {name[:60]!r} here: the list of networks shows those there are.")
    return path


def _ask(line: dict[str, Any], words: str, on_progress: Progress) -> dict[str, Any]:
    """What the process answers. on_progress may raise to end it. Raises LabError with its reason."""
    while not _TURN.acquire(timeout=0.25):
        on_progress(0.0, "waiting for another file to be tried")
    try:
        with closing(Child(MODULE, 1)) as child:
            found = child.ask(json.dumps(line), LIMIT_S, lambda: on_progress(0.0, words))
    except ChildFailed as error:
        sentence = str(error)
        raise LabError(sentence if sentence.endswith((".", "!")) else f"{sentence}: the file was not taken.") from error
    finally:
        _TURN.release()
    assert isinstance(found, dict)
    return found


@contextmanager
def _removed_on_error(place: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
