"""Which operations a network for pictures consists of, in order, with the names of the weights that each one uses.

torch.fx is not used: while it traces, it replaces `nn.Module.__call__` for the whole process, so that every other thread of
a server that just then classifies a picture fails. A TorchFunctionMode sees the calls of its own thread alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from core.common.errors import LabError

ARGUMENTS = {
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "linear": ("input", "weight", "bias"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "relu": ("input", "inplace"),
    "gelu": ("input", "approximate"),
    "flatten": ("input", "start_dim", "end_dim"),
    "add": ("input", "other"),
}
"""What can be exported, with the names of positional arguments."""
NOTHING = ("dropout", "dropout2d")
"""Operations that do nothing in eval mode."""
IMAGES = "images"
LOGITS = "logits"


class Untraceable(LabError):
    """The network does something that is not in ARGUMENTS."""


@dataclass(slots=True)
class Call:
    """One operation."""

    op: str
    """A key of ARGUMENTS."""
    inputs: tuple[str, ...]
    """Names of values: `images`, or the output of an earlier call."""
    weights: dict[str, str] = field(default_factory=dict)
    """Argument -> name of the parameter or buffer."""
    settings: dict[str, Any] = field(default_factory=dict)
    """All other arguments that were given."""
    output: str = ""


def trace(model: nn.Module, side: int) -> list[Call]:
    """The calls that lead from `images` (N, 3, side, side) to `logits`, in order. Nothing is computed: it runs on shapes.

    Raises Untraceable for an operation that is not known, or that depends on the number of pictures.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    names = {id(tensor): name for name, tensor in [*shadow.named_parameters(), *shadow.named_buffers()]}
    images = torch.empty(1, 3, side, side, device="meta")
    recorder = _Recorder(names, images)
    try:
        with torch.no_grad(), recorder:
            logits = shadow(images)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, LabError):
            raise
        raise Untraceable(f"The network cannot be run on pictures of {side}x{side} pixels, so not exported.") from error
    last = recorder.values.get(id(logits))
    if last is None:
        raise Untraceable("The network does not give logits that can be followed, so it cannot be exported.")
    for call in recorder.calls:
        call.output = LOGITS if call.output == last else call.output
        call.inputs = tuple(LOGITS if name == last else name for name in call.inputs)
    return recorder.calls


def uses(calls: list[Call]) -> dict[str, int]:
    """How often each value is used; the logits once more, as the result."""
    found = {LOGITS: 1}
    for call in calls:
        for name in call.inputs:
            found[name] = found.get(name, 0) + 1
    return found


class _Recorder(TorchFunctionMode):
    def __init__(self, names: dict[int, str], images: Tensor) -> None:
        super().__init__()
        self.names = names
        self.values = {id(images): IMAGES}
        self.calls: list[Call] = []
        self._kept: list[Any] = [images]  # an id is taken again once its tensor is gone

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor):
            return result
        op = getattr(func, "__name__", str(func)).strip("_")
        given = [item for item in [*args, *(kwargs or {}).values()] if isinstance(item, Tensor)]
        if not any(id(item) in self.values for item in given) or id(result) in self.values:
            return result
        self._kept.append(result)
        if op in NOTHING:
            self.values[id(result)] = self.values[id(args[0])]
            return result
        if op not in ARGUMENTS or len(args) > len(ARGUMENTS[op]):
            raise Untraceable(f"The network uses {op[:40]}, for which there is no ONNX export here.")
        named = dict(zip(ARGUMENTS[op], args, strict=False)) | (kwargs or {})
        call = Call(op, (), output=f"value_{len(self.calls)}")
        for key, value in named.items():
            if isinstance(value, Tensor) and id(value) in self.values:
                call.inputs += (self.values[id(value)],)
            elif isinstance(value, Tensor) and id(value) in self.names:
                call.weights[key] = self.names[id(value)]
            elif isinstance(value, Tensor):
                raise Untraceable(
                    f"The network uses {op} with numbers of its own, for which there is no ONNX export here."
                )
            elif value is not None:
                call.settings[key] = value
        self.values[id(result)] = call.output
        self.calls.append(call)
        return result
