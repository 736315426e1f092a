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
from core.networks.choices import MAX_CLASSES, Choices

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which trainers put the weights beside other things."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
USUAL_SIZE = 224
MODEL = "torchvision"
_PART = "network."
"""Of the names here before torchvision's."""
DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
"""Names in the DenseNet files that torchvision publishes; it renames them as it loads them."""


def read_state(path: Path, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a file by torchvision's names. Nothing but tensors is unpickled. Raises LabError."""
    state: Any = _read_safetensors(path) if is_safetensors(path) else None
    if state is None:
        if name.lower().endswith(".safetensors"):
            raise LabError(f"{name[:60]} is not a safetensors file, whatever its name says: save the weights again.")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
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
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in found):
            found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found


def is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size - 8


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise LabError("The safetensors file is damaged: save the weights again.") from error


def guess_architecture(name: str) -> str:
    """Out of a file's name, as torchvision names its own: `resnet18-f37072fd.pth`; empty where none is in it."""
    return max((each for each in ARCHITECTURES if each in name.lower()), key=len, default="")


def build(state: dict[str, torch.Tensor], choices: Choices) -> tuple[nn.Module, dict[str, Any]]:
    """The network and its settings. Raises LabError for weights of another architecture."""
    name = choices.architecture
    if name not in ARCHITECTURES:
        raise LabError(f"There is no architecture {name[:40]!r} here: choose one of torchvision's, such as resnet18.")
    state = {DENSE.sub(r"\1\2.", key): value for key, value in state.items()}
    for key, value in state.items():
        if value.layout != torch.strided or value.is_complex() or value.is_quantized or value.is_meta:
            raise LabError(f"{key[:60]} holds no plain numbers: save the weights as dense tensors.")
    size = choices.input_size or USUAL_SIZE
    side = choices.image_size or size
    config: dict[str, Any] = {"architecture": name, "image_size": side, "upscale_to": size if size > side else 0}
    if size < side:
        raise LabError(f"Images of {side} pixels are larger than the {size} that the network takes: choose them alike.")
    shapes = [_shapes(config | {"classes": classes}) for classes in (2, 3)]
    heads = [key for key in shapes[0] if shapes[0][key] != shapes[1][key] and key in state and state[key].ndim]
    classes = len(state[heads[0]]) if heads else 0
    if not 2 <= classes <= MAX_CLASSES:
        raise LabError(
            f"These are not weights of {name} for 2 to {MAX_CLASSES:,} classes: choose the architecture that they are of."
        )
    config["classes"] = classes
    wanted = _shapes(config)
    for key in wanted.keys() - state.keys():
        if key.endswith(".num_batches_tracked"):  # as in files from before PyTorch kept it
            state[key] = torch.zeros((), dtype=torch.int64)
    for key in [*wanted, *state]:
        if key not in state:
            problem = f"{key[:60]} is missing"
        elif key not in wanted:
            problem = f"{key[:60]} is not part of it"
        elif tuple(state[key].shape) != wanted[key]:
            its, here = ("×".join(map(str, shape)) for shape in (state[key].shape, wanted[key]))
            problem = f"{key[:60]} is {its} and must be {here}"
        else:
            continue
        raise LabError(f"These are not the weights of {name}: {problem}. Choose the architecture that they are of.")
    with torch.device("meta"):
        model = build_model(MODEL, config)
    wanted_types = {key: value.dtype for key, value in model.state_dict().items()}
    tensors = {_PART + key: value for key, value in state.items()}
    model.load_state_dict(
        {key: value.to(wanted_types[key]).contiguous() for key, value in tensors.items()}, assign=True
    )
    return model.eval().requires_grad_(False), config


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = build_model(MODEL, config).state_dict()
    return {key.removeprefix(_PART): tuple(value.shape) for key, value in state.items()}
