"""Weights of a torchvision architecture, as safetensors or a state dict. Runs in a separate process."""

from __future__ import annotations

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from core.common.errors import LabError
from core.models import build_model
from core.models.torchvision_names import ARCHITECTURES
from core.networks.choices import Choices
from core.networks.recognise import MODEL, PART, classes_of, differences, not_taken, recognise, shapes_of, size_of

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which trainers put the weights beside other things."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
USUAL_SIZE = 224
PUBLISHED = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)
"""Names in the files of DenseNets and vision transformers that torchvision publishes; it renames them as it loads them."""


def read_state(path: Path, name: str, device: str = "cpu") -> dict[str, torch.Tensor]:
    """The tensors of a file by torchvision's names. Nothing but tensors is unpickled. device: `meta` for their shapes alone.
    Raises LabError."""
    state: Any = _read_safetensors(path, device) if is_safetensors(path) else None
    if state is None:
        if name.lower().endswith(".safetensors"):
            raise LabError(f"{name[:60]} is not a safetensors file, whatever its name says: save the weights again.")
        try:
            state = torch.load(path, map_location=device, weights_only=True)
        except UnpicklingError as error:
            raise LabError(
                "The file holds Python objects besides weights, and those are never opened: save `model.state_dict()` alone."
            ) from error
        except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise LabError("This is no file of weights that can be read: save `model.state_dict()` again.") from error
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(key, str) for key in state):
        raise LabError("The file holds no state dict: save `model.state_dict()`.")
    found = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    if len(found) < len(state):
        raise LabError("The file holds values besides tensors: save `model.state_dict()` alone.")
    while prefix := next((each for each in PREFIXES if all(key.startswith(each) for key in found)), ""):
        found = {key.removeprefix(prefix): value for key, value in found.items()}
    for pattern, here in PUBLISHED:
        found = {pattern.sub(here, key): value for key, value in found.items()}
    return found


def is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size - 8


def _read_safetensors(path: Path, device: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        if device != "meta":
            return load_file(path, device)
        with safe_open(path, "pt") as file:
            return {key: torch.empty(file.get_slice(key).get_shape(), device=device) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, OSError, RuntimeError) as error:
        raise LabError("The safetensors file is damaged: save the weights again.") from error


def build(state: dict[str, torch.Tensor], choices: Choices) -> tuple[nn.Module, dict[str, Any]]:
    """The network and its settings. Raises LabError for weights of another architecture."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    name = choices.architecture or _recognised(shapes)
    if name not in ARCHITECTURES:
        raise LabError(f"There is no architecture {name[:40]!r} here: choose one of torchvision's, such as resnet18.")
    for key, value in state.items():
        if value.layout != torch.strided or value.is_complex() or value.is_quantized or value.is_meta:
            raise LabError(f"{key[:60]} holds no plain numbers: save the weights as dense tensors.")
    trained = size_of(shapes, name).get("image_size", 0)
    size = choices.input_size or trained or USUAL_SIZE
    if trained and size != trained:
        raise LabError(
            f"These weights are for images of {trained} pixels, and not of {size}: set the size to {trained}."
        )
    side = choices.image_size or size
    config: dict[str, Any] = {"architecture": name, "image_size": side, "upscale_to": size if size > side else 0}
    if size < side:
        raise LabError(f"Images of {side} pixels are larger than the {size} that the network takes: choose them alike.")
    classes = classes_of(shapes, name)
    if not classes:
        raise LabError(f"These are not weights of {name}: choose the architecture that they are of.")
    if problem := not_taken(name, classes):
        raise LabError(problem)
    config["classes"] = classes
    wanted = shapes_of(config)
    if problem := next(differences(shapes, wanted), ""):
        raise LabError(f"These are not the weights of {name}: {problem}. Choose the architecture that they are of.")
    missing = wanted.keys() - state.keys()
    state = state | {key: torch.zeros((), dtype=torch.int64) for key in missing}  # how many batches were seen
    with torch.device("meta"):
        model = build_model(MODEL, config)
    wanted_types = {key: value.dtype for key, value in model.state_dict().items()}
    tensors = {PART + key: value for key, value in state.items()}
    model.load_state_dict(
        {key: value.to(wanted_types[key]).contiguous() for key, value in tensors.items()}, assign=True
    )
    return model.eval().requires_grad_(False), config


def _recognised(shapes: dict[str, tuple[int, ...]]) -> str:
    found = recognise(shapes)
    if not found.classes:
        raise LabError(found.sentence)
    return found.architecture
