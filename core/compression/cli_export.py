"""`export`: a checkpoint as one file that runs, or is read, without this project."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.common.errors import LabError
from core.common.output import note, print_json

if TYPE_CHECKING:
    import numpy as np

    from core.checkpoints.store import Checkpoint, CheckpointRef

FORMATS = ("onnx", "safetensors")


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser(
        "export",
        help="write a checkpoint as an ONNX or a safetensors file",
        description="Write a checkpoint as one file. onnx: what runs in ONNX Runtime, with labels and normalisation in its "
        "metadata; it computes in float32, and that of an int8 checkpoint of pictures in int8. safetensors: the weights in "
        "float32, with the card in its metadata. The file is read back and compared with the checkpoint before it is written "
        "to its place.",
    )
    parser.add_argument("--checkpoint", required=True, metavar="NAME", help="as listed by: python -m core checkpoints")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: onnx")
    parser.add_argument("--output", required=True, metavar="FILE", help="where to; a file that is there is replaced")
    parser.add_argument("--snippet", action="store_true", help="print a short script that runs the file (onnx only)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(command=export)


def export(options: argparse.Namespace) -> int:
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.common.devices import cores, prepare_server
    from core.common.paths import write_atomic

    if options.snippet and options.format != "onnx":
        raise LabError(
            "--snippet is for --format onnx: a safetensors file holds weights, which do not run by themselves."
        )
    target = _target(options.output)
    reference = find_checkpoint(options.checkpoint)
    prepare_server(cores())
    checkpoint = load_checkpoint(reference)
    data, difference, compared = _onnx(reference, checkpoint) if options.format == "onnx" else _weights(checkpoint)
    try:
        write_atomic(target, data)
    except OSError as error:
        note(f"{target} cannot be written ({error.strerror or error}): free some space there, or give another file.")
        return 1
    script = ""
    if options.format == "onnx":
        from core.compression.onnx.export import snippet

        script = snippet(checkpoint.card, target.name)
    if options.format == "onnx" and checkpoint.card.task == "text" and checkpoint.card.storage == "int8":
        note(
            "The ONNX file of a language model computes in float32: its weights, rounded to 8 bits, take four bytes each."
        )
    if options.json:
        figures = {"format": options.format, "size_bytes": len(data), "largest_difference": difference}
        print_json(
            {"checkpoint": reference.name, "file": str(target)} | figures | {"compared": compared, "snippet": script}
        )
        return 0
    sentence = f"{target}: {len(data):,} bytes; differs from the checkpoint by {difference:.2g} at most, on {compared}."
    if options.snippet:
        note(sentence)
        print(script, end="")
        return 0
    print(sentence)
    if script:
        note("A script that runs it: the same command with --snippet.")
    return 0


def _target(name: str) -> Path:
    """The file to write. Raises LabError, before anything is loaded, for what cannot be one."""
    try:
        path = Path(name).expanduser()
        if "\0" in name:
            raise ValueError("a NUL byte")
        if not name or path.is_dir():
            raise LabError(f"{name or 'Nothing'} is not a file to write to: give --output the name of a file.")
        if path.exists() and not path.is_file():
            raise LabError(f"{path} is a device or a pipe, which cannot be replaced by a file: give another --output.")
        if not path.parent.is_dir():
            raise LabError(f"There is no folder {path.parent}: make it, or give --output a file in one that exists.")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise LabError(f"The folder {path.parent} is not writable: give --output a file in another one.")
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, an unknown ~user
        raise (
            error
            if isinstance(error, LabError)
            else LabError("--output is not the name of a file: give a shorter one, without special characters.")
        ) from error
    return path


def _onnx(reference: CheckpointRef, checkpoint: Checkpoint) -> tuple[bytes, float, str]:
    """The file, the largest difference of its logits from the checkpoint's, and on what that was found."""
    from core.compression.onnx.export import RANDOM_IMAGES, compare_export, export_onnx

    data = export_onnx(checkpoint)
    if checkpoint.card.task == "text":
        return data, compare_export(checkpoint, data, None), "random characters"
    images = _pictures(reference)
    difference = compare_export(checkpoint, data, images)
    return data, difference, f"{RANDOM_IMAGES} random pictures" if images is None else f"{len(images):,} test images"


def _weights(checkpoint: Checkpoint) -> tuple[bytes, float, str]:
    import torch
    from safetensors.torch import load

    from core.compression.onnx.export import weights_file

    data = weights_file(checkpoint)
    found = load(data)
    for name, value in checkpoint.model.state_dict().items():
        if not torch.equal(found[name], value.to(found[name].dtype)):
            raise LabError(f"{name} did not come back as it was written: nothing was written, report this.")
    return data, 0.0, "all weights"


def _pictures(reference: CheckpointRef) -> np.ndarray | None:
    """Test images of the checkpoint's dataset, if they are on this machine and fit; nothing is fetched."""
    from core.compression.onnx.export import MOST_COMPARED
    from core.data import dataset_status, load_images

    card = reference.card.image_data
    try:
        if not dataset_status(card.name).ready:
            return None
        images = load_images(card.name).test.images[:MOST_COMPARED]
    except LabError:
        return None
    return images if len(images) and images.shape[1:3] == (card.image_size, card.image_size) else None
