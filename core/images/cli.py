"""`classify` and `evaluate`: a checkpoint on images, and on its dataset or, for a language model, on any text."""

from __future__ import annotations

import csv
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

from core.common.commands import CheckpointName, Device, Json
from core.common.errors import LabError
from core.common.output import Bar, note, print_json, print_table
from core.data.cli import EncodingName, load_with_bar, name_encoding_flag, note_changes
from core.data.decode import FORMATS_FOR_PEOPLE
from core.data.square import Square, parse_square
from core.models import TTA_LEVELS

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef
    from core.inference.many import FileAnswer

PER_IMAGE = ("labels", "answers", "confidences", "files")
"""Fields of an evaluation with a value for each image: `--json` has the mistakes instead."""
MOST_MISTAKES = 100
Images = Annotated[list[str], Parameter(help=f"{FORMATS_FOR_PEOPLE} files, or folders of them.")]
Tta = Annotated[
    str | None, Parameter(choices=TTA_LEVELS, help="Test-time augmentation; without it, that of the checkpoint.")
]


def read_square(kind: Any, tokens: Sequence[Token]) -> Square:
    return parse_square(tokens[0].value)


PhotoSquare = Annotated[
    Square | None,
    Parameter(
        converter=read_square,
        accepts_keys=False,
        n_tokens=1,
        metavar="LEFT,TOP,SIDE",
        help="What of each image the model sees: shares of its width, its height and its shorter side, as in 0.1,0.2,0.5. "
        "Without it, the central square.",
    ),
]


def classify(
    images: Images,
    /,
    *,
    checkpoint: CheckpointName,
    square: PhotoSquare = None,
    tta: Tta = None,
    device: Device = "auto",
    as_json: Json = False,
    as_csv: Annotated[bool, Parameter(name="--csv", help="Print as CSV, a line for each image.")] = False,
) -> int:
    """Classify images with a checkpoint."""
    import numpy as np

    from core.checkpoints.store import find_checkpoint
    from core.inference.many import BATCH, classify_files

    if as_json and as_csv:
        raise LabError("--json and --csv exclude each other: leave one out.")
    reference = find_checkpoint(checkpoint)
    files = [file for name in images for file in _files(name)]
    side = reference.card.image_data.image_size
    loaded = load(reference, device)
    from core.inference.images import classify as answer

    # The first call also chooses kernels and allocates: what is reported is what a warm model takes.
    answer(loaded, np.zeros((1, side, side, 3), np.uint8), tta)
    values: list[dict[str, Any]] = []
    failed = False
    with Bar() as bar:
        for number, found in enumerate(classify_files(loaded, files, tta, square), 1):
            failed |= bool(found.error)
            if as_json or as_csv:  # without its thumbnail: a folder may hold any number of images
                values.append(_values(found) if as_json else found.row())
            if found.error:
                note(f"{found.name}: {found.error}")
            elif not as_json and not as_csv:
                print(_line(found), flush=True)
            elif len(files) > BATCH:
                bar.show(number / len(files), "classifying")
    if as_json:
        print_json(values)
    if as_csv:
        writer = csv.DictWriter(sys.stdout, list(values[0]) if values else ["file"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _printable(value) for name, value in row.items()} for row in values)
    return 1 if failed else 0


def _files(name: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The file of that name, or each image anywhere in the folder of that name; and what reads it."""
    from core.data.decode import MAX_BYTES, SUFFIXES
    from core.data.layout import Notes, image_files

    def fail(sentence: str) -> bytes:
        raise LabError(sentence)

    folder = "\0" not in name and Path(name).is_dir()
    try:
        paths = [file.path for file in image_files(Path(name), 0, Notes())] if folder else [Path(name)]
    except OSError as error:
        yield name, partial(fail, f"The folder cannot be read ({error.strerror or error}): change its permissions.")
        return
    if not paths:
        yield name, partial(fail, f"The folder holds no image ({', '.join(SUFFIXES)}): give another one.")
    for path in paths:
        yield str(path) if folder else name, partial(read, path, MAX_BYTES, "image")


def _line(found: FileAnswer) -> str:
    """An answer for people."""
    assert found.prediction
    answers = ", ".join(f"{label} {probability:.1%}" for label, probability in found.prediction.top)
    doubt = " Probably none of these." if found.prediction.likely_none_of_these else ""
    return f"{found.name}: {answers}.{doubt}"


def _values(found: FileAnswer) -> dict[str, Any]:
    """An answer for programs."""
    if found.prediction is None:
        return {"file": found.name, "error": found.error}
    return {
        "file": found.name,
        "top5": [{"label": label, "probability": probability} for label, probability in found.prediction.top],
        "likely_none_of_these": found.prediction.likely_none_of_these,
        "latency_ms": round(found.prediction.latency_ms, 3),
        "notes": list(found.notes),
    }


def _printable(value: object) -> object:
    """A file name may hold bytes that are no text."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def evaluate(
    *,
    checkpoint: CheckpointName,
    split: Literal["test", "validation"] | None = None,
    text: str | None = None,
    encoding: EncodingName = None,
    tta: Tta = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure a checkpoint on its dataset.

    Args:
        split: The test images where none is given; of a text always validation.
        text: A text file instead of the dataset (language models).
    """
    from core.checkpoints.store import find_checkpoint

    reference = find_checkpoint(checkpoint)
    if reference.card.task == "text":
        return _evaluate_text(reference, split, text, encoding, tta, device, as_json)
    if text is not None or encoding is not None:
        raise LabError(
            f"{reference.name} classifies images: leave --text and --encoding out, or choose a language model."
        )
    loaded = load(reference, device)
    from core.inference.evaluation import evaluate as measure
    from core.inference.evaluation import has_other_test_images

    split = split or "test"
    dataset = load_with_bar(loaded.card.dataset.name, "images")
    if dataset.card.classes != loaded.card.image_data.classes:
        raise LabError(f"{dataset.card.title} no longer has the classes that {checkpoint} was trained on.")
    with Bar() as bar:
        result = measure(loaded, getattr(dataset, split), tta, lambda share: bar.show(share, "evaluating"), name=split)
    if as_json:
        values = {name: value for name, value in result.to_dict().items() if name not in PER_IMAGE}
        values["mistakes"] = [dataclasses.asdict(item) for item in result.mistakes[:MOST_MISTAKES]]
        print_json({"checkpoint": loaded.name, "dataset": dataset.card.name, "split": split} | values)
        return None
    low, high = result.interval
    print(f"accuracy: {result.accuracy:.2%} (95% interval {low:.2%} to {high:.2%}, {result.n:,} {split} images)")
    print(f"cross-entropy: {result.loss_nats:.4f} nats; calibration error: {result.ece:.2%}; tta: {result.tta}")
    if split == "test" and has_other_test_images(loaded.card, result.n):
        print(
            "The test set has changed since: cross-entropy and calibration error may count images it was calibrated on."
        )
    elif (counted := sum(item.n for item in result.calibration)) < result.n:
        print(f"Cross-entropy and calibration error are of the {counted:,} images it was not calibrated on.")
    rows = [
        {
            "class": item.label,
            "n": item.n,
            "accuracy": f"{item.accuracy:.1%}",
            "95%": f"{item.low:.1%} to {item.high:.1%}",
        }
        for item in result.per_class
    ]
    print_table(rows, ["class", "n", "accuracy", "95%"])
    return None


def _evaluate_text(
    reference: CheckpointRef,
    split: str | None,
    text: str | None,
    encoding: str | None,
    tta: str | None,
    device: str,
    as_json: bool,
) -> None:
    """`evaluate` for a language model. All that can be wrong with flags and text is told before torch is imported."""
    from core.data import TextDataset, encode
    from core.data.text import with_vocabulary

    if tta is not None:
        raise LabError(f"{reference.name} reads text, which has no test-time augmentation: leave --tta out.")
    if split is not None and text is not None:
        raise LabError("A text of your own is measured as a whole: leave --split out.")
    if encoding is not None and text is None:
        raise LabError("--encoding is for a text file: give one with --text, or leave it out.")
    if split == "test":
        raise LabError("A text has no test split: leave --split out, the last 10% of its characters is for validation.")
    card, split = reference.card, "validation"
    if text is not None:
        split, name, title, own = "whole", *_own_text(text, encoding)
        tokens = encode(own, card.text_data.vocabulary)
    else:
        dataset: TextDataset = load_with_bar(card.dataset.name, "text")
        name, title, known = dataset.card.name, dataset.card.title, with_vocabulary(dataset, card.text_data.vocabulary)
        if known is None:
            raise LabError(
                f"{title} no longer has the characters that {reference.name} was trained on: bring back the text as it was, or "
                "give another with --text."
            )
        if dataset.card.sha256.get("text") != card.dataset.sha256.get("text"):
            note(
                f"{title} has changed since {reference.name} was trained on it, so what it scores may be what it learned."
            )
        tokens = known.validation
    loaded = load(reference, device)
    from core.inference.text import evaluate_text

    with Bar() as bar:
        result = evaluate_text(loaded, tokens, lambda share: bar.show(share, "evaluating"))
    if as_json:
        print_json({"checkpoint": reference.name, "dataset": name, "split": split} | result.to_dict())
        return
    of = "validation characters of " if split == "validation" else "characters of "
    print(f"{result.loss_nats:.4f} nats, {result.bits_per_character:.4f} bits per character")
    print(f"first guess right: {result.accuracy:.2%} of {result.characters:,} {of}{title}")
    if result.skipped:
        print(f"not scored: {result.skipped:,} that training never saw")


def _own_text(name: str, encoding: str | None) -> tuple[str, str, str]:
    """The dataset name that the file would have, its title, and the text in it. Raises LabError."""
    from core.data import MAX_TEXT_BYTES, TEXT_PREFIX
    from core.data.text import clean_title, decode_file

    path = Path(os.path.expanduser(name))
    data, title = read(path, MAX_TEXT_BYTES, "text file"), clean_title(path.name)
    with name_encoding_flag():
        content = decode_file(data, title, encoding)
    note_changes(title, content.changes)
    return f"{TEXT_PREFIX}{os.path.abspath(path)}", title, content.text


def load(reference: CheckpointRef, device: str) -> Any:
    """The checkpoint on the device. Imports torch."""
    from core.checkpoints.store import load_checkpoint
    from core.common.devices import cores, pick_device, prepare_server
    from core.jobs import RunStore

    working = sum(run.status in ("running", "stopping") for run in RunStore().list())
    prepare_server(max(1, cores() // (1 + working)))
    return load_checkpoint(reference, pick_device(device))


def read(path: Path, most_bytes: int, what: str) -> bytes:
    """A file that a person gave, and one byte more than it may have if it is too large. Raises LabError.

    what: `image` or `text file`, for sentences.
    """
    try:
        if path.is_dir():
            raise LabError(f"{path} is a folder: give a {what} in it.")
        with path.open("rb") as file:
            return file.read(most_bytes + 1)
    except ValueError as error:
        raise error if isinstance(error, LabError) else LabError(f"This is not a file name: give a {what}.") from error
    except OSError as error:
        raise LabError(f"The file cannot be read ({error.strerror or error}): give a {what}.") from error
