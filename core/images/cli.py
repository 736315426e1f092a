"""`classify` and `evaluate`: a checkpoint on pictures, and on its dataset or, for a language model, on any text."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.common.errors import LabError
from core.common.output import Bar, note, print_json, print_table
from core.data.cli import load_with_bar

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser("classify", help="classify pictures with a checkpoint")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a picture: PNG, JPEG, WebP, BMP or GIF")
    _common(parser)
    parser.set_defaults(command=classify)
    parser = subcommands.add_parser("evaluate", help="measure a checkpoint on its dataset")
    _common(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--split", choices=("test", "validation"), help="default: test; of a text, validation")
    what.add_argument("--text", metavar="FILE", help="a text file in UTF-8 instead of the dataset (language models)")
    parser.set_defaults(command=evaluate)


def classify(options: argparse.Namespace) -> int:
    import numpy as np

    from core.data.decode import MAX_BYTES, decode_image, fit_to_model

    reference = _find(options)
    side = reference.card.image_data.image_size
    checkpoint = load(reference, options)
    from core.inference.images import classify as answer

    # The first call also chooses kernels and allocates: what is reported is what a warm model takes.
    answer(checkpoint, np.zeros((1, side, side, 3), np.uint8), options.tta)
    rows: list[dict[str, Any]] = []
    for name in options.images:
        try:
            picture = decode_image(read(Path(name), MAX_BYTES, "picture"))
            prediction = answer(checkpoint, fit_to_model(picture.rgb, side)[None], options.tta)[0]
        except LabError as error:
            rows.append({"file": name, "error": str(error)})
            note(f"{name}: {error}")
            continue
        rows.append(
            {
                "file": name,
                "top5": [{"label": label, "probability": probability} for label, probability in prediction.top],
                "likely_none_of_these": prediction.likely_none_of_these,
                "latency_ms": round(prediction.latency_ms, 3),
                "notes": list(picture.notes),
            }
        )
        if not options.json:
            answers = ", ".join(f"{label} {probability:.1%}" for label, probability in prediction.top)
            doubt = " Probably none of these." if prediction.likely_none_of_these else ""
            print(f"{name}: {answers}.{doubt}")
    if options.json:
        print_json(rows)
    return 1 if any("error" in row for row in rows) else 0


def evaluate(options: argparse.Namespace) -> int:
    reference = _find(options)
    if reference.card.task == "text":
        return _evaluate_text(reference, options)
    if options.text is not None:
        raise LabError(f"{reference.name} classifies pictures: leave --text out, or choose a language model.")
    checkpoint = load(reference, options)
    from core.inference.evaluation import evaluate as measure

    split = options.split or "test"
    dataset = load_with_bar(checkpoint.card.dataset.name, "images")
    if dataset.card.classes != checkpoint.card.image_data.classes:
        raise LabError(f"{dataset.card.title} no longer has the classes that {options.checkpoint} was trained on.")
    bar = Bar()
    try:
        result = measure(checkpoint, getattr(dataset, split), options.tta, lambda share: bar.show(share, "evaluating"))
    finally:
        bar.close()
    if options.json:
        names = {"checkpoint": checkpoint.name, "dataset": dataset.card.name, "split": split}
        print_json(names | result.to_dict())
        return 0
    low, high = result.interval
    print(f"accuracy: {result.accuracy:.2%} (95% interval {low:.2%} to {high:.2%}, {result.n:,} {split} images)")
    print(f"cross-entropy: {result.loss_nats:.4f} nats; calibration error: {result.ece:.2%}; tta: {result.tta}")
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
    return 0


def _evaluate_text(reference: CheckpointRef, options: argparse.Namespace) -> int:
    """`evaluate` for a language model. Everything that can be wrong with flags and text is told before torch is imported."""
    from core.data import TextDataset, encode

    if options.tta is not None:
        raise LabError(f"{reference.name} reads text, which has no test-time augmentation: leave --tta out.")
    if options.split == "test":
        raise LabError("A text has no test split: leave --split out, the last 10% of its characters is for validation.")
    card, split = reference.card, "validation"
    if options.text is not None:
        split, name, title, text = "whole", *_own_text(options.text)
        tokens = encode(text, card.text_data.vocabulary)
    else:
        dataset: TextDataset = load_with_bar(card.dataset.name, "text")
        name, title, tokens = dataset.card.name, dataset.card.title, dataset.validation
        if dataset.card.vocabulary != card.text_data.vocabulary:
            raise LabError(
                f"{title} no longer has the characters that {reference.name} was trained on: bring back the text as it was, or "
                "give another with --text."
            )
        if dataset.card.sha256.get("text") != card.dataset.sha256.get("text"):
            note(
                f"{title} has changed since {reference.name} was trained on it, so what it scores may be what it learned."
            )
    checkpoint = load(reference, options)
    from core.inference.text import evaluate_text

    bar = Bar()
    try:
        result = evaluate_text(checkpoint, tokens, lambda share: bar.show(share, "evaluating"))
    finally:
        bar.close()
    if options.json:
        print_json({"checkpoint": reference.name, "dataset": name, "split": split} | result.to_dict())
        return 0
    of = "validation characters of " if split == "validation" else "characters of "
    print(f"{result.loss_nats:.4f} nats, {result.bits_per_character:.4f} bits per character")
    print(f"first guess right: {result.accuracy:.2%} of {result.characters:,} {of}{title}")
    if result.skipped:
        print(f"not scored: {result.skipped:,} that training never saw")
    return 0


def _own_text(name: str) -> tuple[str, str, str]:
    """The dataset name that the file would have, its title, and the text in it. Raises LabError."""
    from core.data import MAX_TEXT_BYTES, TEXT_PREFIX
    from core.data.text import clean_title, decode_file

    path = Path(os.path.expanduser(name))
    text = decode_file(read(path, MAX_TEXT_BYTES, "text file"), path.name)
    return f"{TEXT_PREFIX}{os.path.abspath(path)}", clean_title(path.name), text


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, metavar="NAME", help="as listed by: python -m core checkpoints")
    parser.add_argument(
        "--tta", choices=("none", "flip", "flip+shift"), help="test-time augmentation; default: its own"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _find(options: argparse.Namespace) -> CheckpointRef:
    """The checkpoint that was asked for. A step of its own, so that a wrong name is told without waiting for torch."""
    from core.checkpoints.store import find_checkpoint

    return find_checkpoint(options.checkpoint)


def load(reference: CheckpointRef, options: argparse.Namespace) -> Any:
    """The checkpoint on the device. Imports torch."""
    from core.checkpoints.store import load_checkpoint
    from core.common.devices import cores, pick_device, prepare_server
    from core.jobs import RunStore

    working = sum(run.status in ("running", "stopping") for run in RunStore().list())
    prepare_server(max(1, cores() // (1 + working)))
    return load_checkpoint(reference, pick_device(options.device))


def read(path: Path, most_bytes: int, what: str) -> bytes:
    """A file that a person gave, and one byte more than it may have if it is too large. Raises LabError.

    what: `picture` or `text file`, for sentences.
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
