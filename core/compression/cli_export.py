"""`export`: a checkpoint as one file that runs, or is read, without this project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from core.common.commands import CheckpointName, Json
from core.common.errors import LabError
from core.common.output import check_output, note, print_json
from core.compression.targets import PRECISIONS, TARGETS, ExportRequest, export_file
from core.inference.onnx_network import OPSET

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef
    from core.data.dataset import ImageDataset


def export(
    *,
    checkpoint: CheckpointName,
    output: str,
    format: Annotated[str, Parameter(choices=tuple(TARGETS))] = "onnx",
    precision: Annotated[str | None, Parameter(choices=PRECISIONS)] = None,
    opset: int = OPSET,
    script: str | None = None,
    snippet: bool = False,
    as_json: Json = False,
) -> int:
    """Write a checkpoint as one file that leaves the lab.

    The file is read back and compared with the checkpoint before it is written to its place. Nothing is downloaded but what
    a web page needs.

    Args:
        output: Where to; a file that is there is replaced.
        format: What to make: a file for ONNX Runtime, a web page that runs the network (zip), a program of torch.export, the
            weights, or a model card in Markdown.
        precision: Of an ONNX file or a web page. By default int8 for a checkpoint of images that is in int8, else float32. To put
            another checkpoint in int8, its training images must be on this machine.
        opset: Of an ONNX file, 17 to 22: older runtimes need a lower one.
        script: Write the script that answers with the file to this place.
        snippet: Print that script.
    """
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.common.devices import cores, prepare_server
    from core.common.paths import write_atomic

    target = check_output("--output", output)
    beside = None if script is None else check_output("--script", script, other=output)
    reference = find_checkpoint(checkpoint)
    request = ExportRequest(target=format, precision=precision, opset=opset)
    request.check(reference.card)
    if (snippet or beside) and format not in ("onnx", "pt2"):
        raise LabError("--script and --snippet are for --format onnx and pt2: no other file has a script.")
    prepare_server(cores())
    made = export_file(load_checkpoint(reference), request, target.name, _dataset(reference, request))
    try:
        write_atomic(target, made.data, mode=0o666)
        if beside:
            write_atomic(beside, made.script, mode=0o666)
    except OSError as error:
        note(f"{target} cannot be written ({error.strerror or error}): free some space there, or give another file.")
        return 1
    for sentence in made.notes:
        note(sentence)
    if as_json:
        about = {"checkpoint": reference.name, "file": str(target), "format": format, "size_bytes": len(made.data)}
        about |= {"largest_difference": made.difference, "compared": made.compared, "notes": list(made.notes)}
        print_json(about | {"script": made.script})
        return 0
    sentence = f"{target}: {len(made.data):,} bytes"
    if made.difference is not None:
        sentence += f"; differs from the checkpoint by {made.difference:.2g} at most, on {made.compared}"
    (note if snippet else print)(f"{sentence}.")
    if snippet:
        print(made.script, end="")
    elif made.script and not beside:
        note(f"A script that answers with it: the same command with --script {made.script_name}.")
    return 0


def _dataset(reference: CheckpointRef, request: ExportRequest) -> ImageDataset | None:
    """The checkpoint's own, if it is on this machine; nothing is fetched."""
    from core.data import dataset_status, load_images

    card = reference.card
    if card.task != "images" or request.target in ("safetensors", "card"):
        return None
    try:
        if not dataset_status(card.dataset.name).ready:
            return None
        return load_images(card.dataset.name)
    except LabError:
        return None
