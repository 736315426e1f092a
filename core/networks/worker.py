"""The process in which a file from elsewhere is read and tried: `python -m core.networks.worker`, with a limit to its memory.

A line of JSON asks; a line of JSON answers. What it makes lies in a folder that the line names.
"""

from __future__ import annotations

import dataclasses
import json
import math
import resource
import sys
from pathlib import Path
from typing import Any

from core.common.errors import LabError, is_out_of_memory
from core.common.parent import end_group, end_with_parent, reason, take_stdout

MEMORY_BYTES = 4_000_000_000
"""That a check may take besides what its libraries do, and FILE_TIMES the file."""
FILE_TIMES = 8
RANDOM_IMAGES = 2


def main() -> None:
    say = take_stdout()
    end_with_parent(end_group)
    try:
        asked = json.loads(sys.stdin.readline())
        import onnxruntime  # noqa: F401 - before the limit, which is for the file
        import torch
        import torchvision  # noqa: F401

        torch.set_num_threads(1)
        path = Path(asked["file"])
        _limit_memory(MEMORY_BYTES + FILE_TIMES * path.stat().st_size)
        say(VERBS[asked["what"]](path, asked))
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, MemoryError) or "bad_alloc" in str(error):
            say({"error": f"It needs more than the {MEMORY_BYTES / 1e9:g} GB of memory that a check may take"})
        else:
            say({"error": reason(error)})


def _limit_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:  # elsewhere the limit counts what is mapped and never used
        most = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def inspect(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What the file is, and what it says of itself."""
    from core.networks.bundle import card_in, is_bundle
    from core.networks.onnx_file import facts_of, read_file
    from core.networks.recognise import recognise, size_of
    from core.networks.weights import is_safetensors, read_state

    name = asked["name"]
    with path.open("rb") as file:
        head = file.read(4)
    if is_bundle(path) or (is_safetensors(path) and card_in(path)):
        return {"kind": "checkpoint"}
    if head[:2] in (b"PK", b"\x80\x02") or is_safetensors(path) or name.lower().endswith(WEIGHTS):
        shapes = {key: tuple(value.shape) for key, value in read_state(path, name, "meta").items()}
        found = recognise(shapes)
        return {
            "kind": "weights",
            "tensors": len(shapes),
            "parameters": sum(map(math.prod, shapes.values())),
            "architecture": found.architecture,
            "classes": found.classes,
            "recognised": found.sentence,
            "input_size": size_of(shapes, found.architecture).get("image_size", 0),
        }
    return {"kind": "onnx"} | dataclasses.asdict(facts_of(read_file(path.read_bytes())))


WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Endings of files of weights."""


def prepare(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint in the folder, and its first answer."""
    import numpy as np

    from core.checkpoints.store import CheckpointRef, load_checkpoint, read_card
    from core.inference.images import classify, logits_of

    folder, kind = Path(asked["folder"]), asked["kind"]
    found = MAKERS[kind](path, folder, asked)
    card = read_card(folder)
    checkpoint = load_checkpoint(CheckpointRef(name=folder.name, folder=folder, card=card, origin="folder"))
    if card.task != "images":
        return found | {"top": []}
    side = card.image_data.image_size
    noise = np.random.default_rng(0).integers(0, 256, (RANDOM_IMAGES, side, side, 3), dtype=np.uint8)
    if not logits_of(checkpoint, noise, "none").isfinite().all():
        raise LabError("The network does not answer random images with finite numbers: its weights are damaged.")
    image = np.load(asked["image"], allow_pickle=False) if asked.get("image") else noise[0]
    from core.data.decode import model_input

    answer = classify(checkpoint, model_input(image, side, card.image_data.fit)[None])[0]
    return found | {"top": [list(pair) for pair in answer.top], "latency_ms": answer.latency_ms}


def _from_onnx(path: Path, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    from core.checkpoints.store import save_checkpoint
    from core.inference.runtime_network import RuntimeNetwork, RuntimeNetworkConfig
    from core.networks.convert import convert
    from core.networks.describe import card_of
    from core.networks.standard_form import to_standard_form

    choices = asked["choices"]
    form = to_standard_form(path.read_bytes(), choices)
    side = form.model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    model: Any
    try:
        model, config, difference = convert(form.model, form.classes, side)
        name, why, twin = "onnx", "", difference
    except LabError as error:
        name, why, twin = "onnx_runtime", str(error), None
        config = {"classes": form.classes, "image_size": side, "reason": why[:200]}
        model = RuntimeNetwork(RuntimeNetworkConfig(**config))
    card = card_of(choices, asked["dataset"], asked["name"], name, config, form.notes)
    save_checkpoint(folder, model, card, onnx=form.model.SerializeToString())
    return {"notes": form.notes, "difference": form.difference, "twin_difference": twin, "only_answers": why}


def _from_weights(path: Path, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    from core.checkpoints.store import save_checkpoint
    from core.networks.describe import card_of
    from core.networks.weights import MODEL, build, read_state

    model, config = build(read_state(path, asked["name"]), asked["choices"])
    card = card_of(asked["choices"], asked["dataset"], asked["name"], MODEL, config, ())
    save_checkpoint(folder, model, card)
    return {"notes": [], "only_answers": ""}


def _from_bundle(path: Path, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    from core.networks.bundle import is_bundle, unpack, unpack_weights

    (unpack if is_bundle(path) else unpack_weights)(path, folder)
    return {"notes": [], "only_answers": ""}


MAKERS = {"onnx": _from_onnx, "weights": _from_weights, "checkpoint": _from_bundle}


def _prepare(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    from core.data.dataset import DatasetCard
    from core.networks.choices import Choices

    given = asked["dataset"]
    dataset = None if given is None else DatasetCard.from_dict(given)
    return prepare(path, asked | {"choices": Choices.from_dict(asked["choices"]), "dataset": dataset})


VERBS = {"inspect": inspect, "prepare": _prepare}

if __name__ == "__main__":
    main()
