"""`export`: a checkpoint as one file that runs, or is read, without this project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from core.common.commands import CheckpointName, Json
from core.common.errors import LabError
from core.common.output import check_output, note, print_json

if TYPE_CHECKING:
    import numpy as np

    from core.checkpoints.store import Checkpoint, CheckpointRef


def export(
    *,
    checkpoint: CheckpointName,
    output: str,
    format: Literal["onnx", "safetensors"] = "onnx",
    snippet: bool = False,
    as_json: Json = False,
) -> int:
    """Write a checkpoint as one ONNX or safetensors file.

    The file is read back and compared with the checkpoint before it is written to its place.

    Args:
        output: Where to; a file that is there is replaced.
        format: onnx: what runs in ONNX Runtime, with labels and normalisation in its metadata; it computes in float32, and that
            of an int8 checkpoint of images in int8. safetensors: the weights in float32, with the card in its metadata.
        snippet: Print a short script that runs the file (onnx only).
    """
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.common.devices import cores, prepare_server
    from core.common.paths import write_atomic

    if snippet and format != "onnx":
        raise LabError(
            "--snippet is for --format onnx: a safetensors file holds weights, which do not run by themselves."
        )
    target = check_output("--output", output)
    reference = find_checkpoint(checkpoint)
    prepare_server(cores())
    loaded = load_checkpoint(reference)
    data, difference, compared = _onnx(reference, loaded) if format == "onnx" else _weights(loaded)
    try:
        write_atomic(target, data, mode=0o666)
    except OSError as error:
        note(f"{target} cannot be written ({error.strerror or error}): free some space there, or give another file.")
        return 1
    script = ""
    if format == "onnx":
        from core.compression.onnx.export import snippet as write_snippet

        script = write_snippet(loaded.card, target.name)
        if loaded.card.task == "text" and loaded.card.storage == "int8":
            note(
                "The ONNX file of a language model computes in float32: its weights, rounded to 8 bits, take four bytes each."
            )
    if as_json:
        figures = {"format": format, "size_bytes": len(data), "largest_difference": difference}
        print_json(
            {"checkpoint": reference.name, "file": str(target)} | figures | {"compared": compared, "snippet": script}
        )
        return 0
    sentence = f"{target}: {len(data):,} bytes; differs from the checkpoint by {difference:.2g} at most, on {compared}."
    if snippet:
        note(sentence)
        print(script, end="")
        return 0
    print(sentence)
    if script:
        note("A script that runs it: the same command with --snippet.")
    return 0


def _onnx(reference: CheckpointRef, checkpoint: Checkpoint) -> tuple[bytes, float, str]:
    """The file, the largest difference of its logits from the checkpoint's, and on what that was found."""
    from core.compression.onnx.export import RANDOM_IMAGES, compare_export, export_onnx

    data = export_onnx(checkpoint)
    if checkpoint.card.task == "text":
        return data, compare_export(checkpoint, data, None), "random characters"
    images = _images(reference)
    difference = compare_export(checkpoint, data, images)
    return data, difference, f"{RANDOM_IMAGES} random images" if images is None else f"{len(images):,} test images"


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


def _images(reference: CheckpointRef) -> np.ndarray | None:
    """Test images of the checkpoint's dataset, if they are on this machine and fit; nothing is fetched."""
    from core.compression.onnx.export import most_compared
    from core.data import dataset_status, load_images

    card = reference.card.image_data
    try:
        if not dataset_status(card.name).ready:
            return None
        images = load_images(card.name).test.images[: most_compared(reference.card)]
    except LabError:
        return None
    return images if len(images) and images.shape[1:3] == (card.image_size, card.image_size) else None
