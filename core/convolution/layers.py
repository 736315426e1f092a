"""What each layer of a network makes of an image, and which training images excite its channels most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.convolution.arithmetic import Sums, WindowSettings, compute
from core.inference.images import normalise
from core.models import clone_model, images_at_once
from core.models.receptive_field import Span, spans

SHOWN = 8
"""Images that are kept of each channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerInfo:
    name: str
    kind: str
    """Class of the layer: Conv2d, ReLU, MaxPool2d, …"""
    shape: tuple[int, int, int]
    """Channels, height, width of its output for one image."""
    span: Span


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exciting:
    """For each channel the images in which its largest value is highest, best first."""

    images: np.ndarray
    """(C, N) int64: places in the split."""
    values: np.ndarray
    """(C, N) float32: that value."""
    units: np.ndarray
    """(C, N, 2) int64: row and column of the unit that has it."""
    searched: int
    """Images that were looked at."""


def layers_of(checkpoint: Checkpoint) -> list[LayerInfo]:
    """The layers whose output has height and width, in the order in which the network computes."""
    checkpoint.check_layers()
    side = checkpoint.card.image_data.image_size
    found = spans(checkpoint.model, side)
    model = clone_model(checkpoint.model)
    shapes: dict[str, tuple[int, ...]] = {}
    _run(model, list(found), torch.zeros(1, 3, side, side), lambda name, x: shapes.__setitem__(name, tuple(x.shape)))
    modules = dict(model.named_modules())
    return [
        LayerInfo(name=name, kind=type(modules[name]).__name__, shape=(shape[1], shape[2], shape[3]), span=found[name])
        for name, shape in shapes.items()
        if len(shape) == 4 and not isinstance(modules[name], nn.Identity | nn.Dropout | nn.Dropout2d)
    ]


def activations(checkpoint: Checkpoint, layer: str, images: np.ndarray) -> np.ndarray:
    """(N, C, h, w) float32: the output of a layer for images (N, H, W, 3) uint8. Raises LabError where there is none."""
    return _outputs(clone_model(checkpoint.model), checkpoint, layer, images).numpy()


def convolution_sums(checkpoint: Checkpoint, layer: str, channel: int, pixels: np.ndarray) -> Sums:
    """What a trained convolution computes for one output channel, on an image (H, W, 3) uint8: its terms in float64, from the
    float32 values that reach it. Raises LabError for a layer or channel that there is not."""
    model = clone_model(checkpoint.model)
    module = dict(model.named_modules()).get(layer)
    if not isinstance(module, nn.Conv2d) or not 0 <= channel < module.out_channels:
        raise LabError(f"There is no channel {channel} of a convolution {layer[:60]!r}: choose one that is listed.")
    reached: list[torch.Tensor] = []
    hook = module.register_forward_pre_hook(lambda module, args: reached.append(args[0]))
    try:
        _outputs(model, checkpoint, layer, pixels[None])
    finally:
        hook.remove()
    per_group = module.out_channels // module.groups
    width = module.in_channels // module.groups
    first = channel // per_group * width
    settings = WindowSettings(
        stride=int(module.stride[0]),
        padding=int(module.padding[0]),
        dilation=int(module.dilation[0]),
        bias=0.0 if module.bias is None else float(module.bias[channel]),
    )
    return compute(
        reached[0][0, first : first + width].double().numpy(), module.weight[channel].double().numpy(), settings
    )


def pytorch_output(sums: Sums, dtype: torch.dtype = torch.float64) -> np.ndarray:
    """(O, H', W'): the same by PyTorch's own functions."""
    made, k = sums.settings, sums.kernel.shape[-1]
    inputs = torch.from_numpy(sums.inputs).to(dtype)
    if made.operation == "convolution":
        weights = torch.from_numpy(sums.kernel)[None].to(dtype)
        found = F.conv2d(inputs[None], weights, None, made.stride, made.padding, made.dilation)[0] + made.bias
    elif made.operation == "max":
        found = F.max_pool2d(inputs, k, made.stride, made.padding, made.dilation)
    else:
        found = F.avg_pool2d(inputs, k, made.stride, made.padding)
    return found.numpy()


def most_exciting(
    checkpoint: Checkpoint, layer: str, images: np.ndarray, on_progress: Progress = lambda fraction, words: None
) -> Exciting:
    """The images (N, H, W, 3) uint8 that excite each channel of a layer most. Raises LabError as `activations` does."""
    size, model = images_at_once(checkpoint.card.model_config, 50), clone_model(checkpoint.model)
    tops, places = [], []
    for start in range(0, len(images), size):
        maps = _outputs(model, checkpoint, layer, images[start : start + size])
        top, place = maps.flatten(2).max(2)
        tops.append(top)
        places.append(torch.stack([place // maps.shape[3], place % maps.shape[3]], 2))
        on_progress(min(1.0, (start + size) / len(images)), "looking at training images")
    values, units = torch.cat(tops), torch.cat(places)  # (N, C), (N, C, 2)
    order = values.argsort(dim=0, descending=True, stable=True)[:SHOWN]
    return Exciting(
        images=order.T.numpy(),
        values=values.gather(0, order).T.numpy(),
        units=units.gather(0, order[..., None].expand(-1, -1, 2)).transpose(0, 1).numpy(),
        searched=len(images),
    )


def _outputs(model: nn.Module, checkpoint: Checkpoint, layer: str, images: np.ndarray) -> torch.Tensor:
    kept: dict[str, torch.Tensor] = {}
    inputs = normalise(torch.from_numpy(np.require(images, requirements=["C", "W"])), checkpoint.card)
    _run(model, [layer], inputs, kept.__setitem__)
    if layer not in kept or kept[layer].ndim != 4:
        raise LabError(f"There is no layer {layer[:60]!r} with maps in this network: choose one that is listed.")
    return kept[layer].float()


def _run(model: nn.Module, names: list[str], inputs: torch.Tensor, take: Callable[[str, torch.Tensor], Any]) -> None:
    """One pass of a copy of a network; `take` gets the output of each of these layers."""
    modules = dict(model.named_modules())
    hooks = [
        modules[name].register_forward_hook(lambda module, args, output, name=name: take(name, output))
        for name in names
        if name in modules
    ]
    try:
        with torch.inference_mode():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
