"""`classify` and `evaluate`: a checkpoint on pictures, and on its dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.commands.data import load_with_bar
from core.commands.output import Bar, note, print_json, print_table
from core.errors import LabError


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser("classify", help="classify pictures with a checkpoint")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a picture: PNG, JPEG, WebP, BMP or GIF")
    _common(parser)
    parser.set_defaults(command=classify)
    parser = subcommands.add_parser("evaluate", help="measure a checkpoint on the test images of its dataset")
    _common(parser)
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="images to use (default: test)")
    parser.set_defaults(command=evaluate)


def classify(options: argparse.Namespace) -> int:
    import numpy as np

    from core.images import decode_image, fit_to_model

    checkpoint = _load(options)
    from core.inference import classify as answer

    side = checkpoint.card.image_data.image_size
    # The first call also chooses kernels and allocates: what is reported is what a warm model takes.
    answer(checkpoint, np.zeros((1, side, side, 3), np.uint8), options.tta)
    rows: list[dict[str, Any]] = []
    for name in options.images:
        try:
            picture = decode_image(_read(Path(name)))
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
    checkpoint = _load(options)
    from core.evaluation import evaluate as measure

    dataset = load_with_bar(checkpoint.card.dataset.name)
    if dataset.card.classes != checkpoint.card.image_data.classes:
        raise LabError(f"{dataset.card.title} no longer has the classes that {options.checkpoint} was trained on.")
    bar = Bar()
    try:
        result = measure(
            checkpoint, getattr(dataset, options.split), options.tta, lambda share: bar.show(share, "evaluating")
        )
    finally:
        bar.close()
    if options.json:
        names = {"checkpoint": checkpoint.name, "dataset": dataset.card.name, "split": options.split}
        print_json(names | result.to_dict())
        return 0
    low, high = result.interval
    print(
        f"accuracy: {result.accuracy:.2%} (95% interval {low:.2%} to {high:.2%}, {result.n:,} {options.split} images)"
    )
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


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, metavar="NAME", help="as listed by: python -m core checkpoints")
    parser.add_argument(
        "--tta", choices=("none", "flip", "flip+shift"), help="test-time augmentation; default: its own"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _load(options: argparse.Namespace) -> Any:
    """The checkpoint on the device. Finds it first, so that a wrong name is told without waiting for torch."""
    from core.checkpoints import find_checkpoint, load_checkpoint
    from core.devices import cores, pick_device, prepare_server
    from core.runs import RunStore

    reference = find_checkpoint(options.checkpoint)
    working = sum(run.status in ("running", "stopping") for run in RunStore().list())
    prepare_server(max(1, cores() // (1 + working)))
    return load_checkpoint(reference, pick_device(options.device))


def _read(path: Path) -> bytes:
    from core.images import MAX_BYTES

    try:
        if path.is_dir():
            raise LabError(f"{path} is a folder: give the pictures in it.")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except ValueError as error:
        raise error if isinstance(error, LabError) else LabError("This is not a file name: give a picture.") from error
    except OSError as error:
        raise LabError(f"The file cannot be read ({error.strerror or error}): give a picture.") from error
