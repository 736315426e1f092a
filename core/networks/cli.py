"""`networks`: bring a network from elsewhere, list and delete those that are here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cyclopts import App

from core.common.commands import Json, takes_settings
from core.common.errors import LabError
from core.common.output import note, print_json, print_table
from core.data.dataset import NO_DATASET
from core.networks.choices import Choices

networks = App(name="networks", help="Networks that were trained elsewhere: ONNX files, weights, checkpoints as zip.")


@networks.command
@takes_settings(Choices)
def add(
    file: Path, /, *, image: Path | None = None, as_json: Json = False, settings: dict[str, Any] | None = None
) -> None:
    """Check a file, let the network answer once, and keep it as a checkpoint.

    Args:
        file: ONNX, safetensors, a state dict of PyTorch, or a checkpoint of this lab (the zip archive, or exported weights).
        image: What it answers first; without it a random one.
    """
    from core.data import load_images
    from core.data.decode import decode_image
    from core.networks.store import attempt, discard, keep, receive

    choices = Choices.from_dict(settings or {})
    if not file.is_file():
        raise LabError(f"There is no file {str(file)[:200]}: check its path.")
    dataset = None if choices.dataset == NO_DATASET else load_images(choices.dataset).card
    with file.open("rb") as source:
        given = receive(source, file.name)
    try:
        if not choices.architecture and given.facts.get("classes") and given.facts.get("recognised"):
            note(given.facts["recognised"])
        if "pixels" not in (settings or {}) and given.facts.get("mean") and given.facts.get("std"):
            choices = choices.replace(pixels="own", mean=given.facts["mean"], std=given.facts["std"])
            note("Its mean and standard deviation are those in the file.")
        pixels = None if image is None else decode_image(image.read_bytes()).rgb
        tried = attempt(given, choices, dataset=dataset, image=pixels)
        name = keep(tried)
    except BaseException:
        discard(given)
        raise
    if as_json:
        print_json({"name": name, "facts": given.facts, **tried.answer})
        return
    for sentence in tried.answer["notes"]:
        print(sentence)
    if why := tried.answer["only_answers"]:
        print(f"It answers only, without gradients and layers: {why}.")
    print(f"Kept as {name}. Classify with it: python -m core classify IMAGE --checkpoint {name}")


@networks.command(name="list")
def list_networks(*, as_json: Json = False) -> None:
    """List the networks that were brought here, the newest first."""
    from core.networks.store import kept_networks

    rows = [
        {
            "name": reference.name,
            "title": reference.card.title,
            "model": reference.card.model,
            "classes": len(reference.card.image_data.classes) if reference.card.task == "images" else None,
            "size_bytes": reference.card.size_bytes + reference.card.onnx_bytes,
        }
        for reference in kept_networks()
    ]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows, list(rows[0]))
    else:
        print("There are no networks here yet: python -m core networks add FILE")


@networks.command
def delete(name: str, /) -> None:
    """Delete a network that was brought here. What was made from it stays."""
    from core.networks.store import delete as delete_network

    delete_network(name)
    note(f"Deleted {name}.")
