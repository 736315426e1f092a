"""The units of a network, and their responses to images.

The response of a unit is the mean of its channel's map over space (over tokens in a Transformer); of a class, its logit.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.attribution.networks import ACTIVATIONS, convolutions
from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.data.dataset import Split
from core.data.splits import stratified_order
from core.models import clone_model, head_name
from core.training.batches import DeviceImages
from core.training.features import features_of

HANDED_ON = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Softmax)
"""Modules that make no units. A softmax only weighs: the mean of its outputs is the same for all images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    name: str
    kind: str
    """Class of the module: Conv2d, ReLU, …"""
    channels: int
    places: int
    """Values in the map of a channel; 1 for classes."""
    classes: bool = False
    """Whether its units are the logits."""
    follows: str = ""
    """The convolution whose activation it is, if it is the first after one."""

    @property
    def rectified(self) -> bool:
        """Whether a unit that is never above 0 hands nothing on."""
        return self.kind in ("ReLU", "ReLU6")


class _Reached(Exception):
    """The layer has its output: nothing after it is computed."""


class Responses(nn.Module):
    """Normalised images (N, 3, H, W) to the responses (N, C) of a layer's units. It has a copy of the network.

    Raises LabError for a layer that there is not.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        # Convolutions on a CPU are faster on channels that lie together.
        self.model, self.layer = clone_model(model).to(memory_format=torch.channels_last), layer
        module = dict(self.model.named_modules()).get(layer) if layer else None
        if module is None or list(module.children()):
            raise LabError(f"There is no layer {layer[:60]!r} in this network: choose one that is listed.")
        self.activation = type(module).__name__ in ACTIVATIONS
        self._kept: tuple[Tensor, Tensor] | None = None
        module.register_forward_hook(self._keep)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, P): the maps, P places each, and what the layer was given, if it is an activation (else the maps)."""
        try:
            self.model(images)
        except _Reached:
            pass
        kept, self._kept = self._kept, None
        assert kept is not None, "a layer that is listed is reached"
        after, before = (_by_channel(part) for part in kept)
        # Of any other layer, a channel that it is given is not the channel that it makes.
        return after, before if self.activation else after

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images)[0].mean(2)

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._kept = output, inputs[0]
        raise _Reached


def layers_of(checkpoint: Checkpoint) -> list[Layer]:
    """The layers whose channels are units, in the order in which the network computes; the classes last.

    Raises LabError for a network without convolutions.
    """
    checkpoint.check_layers()
    side, model = checkpoint.card.image_data.image_size, clone_model(checkpoint.model)
    windows = set(convolutions(model))
    if not windows:
        raise LabError("This network has no convolutions, so it has no channels to look at: choose another checkpoint.")
    head, modules = head_name(model), dict(model.named_modules())
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in modules.items():
        if not list(module.children()):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: shapes.__setitem__(name, tuple(output.shape))
            )
    with torch.inference_mode():
        model(torch.zeros(1, 3, side, side))
    found, last = [], ""
    for name, shape in shapes.items():
        kind = type(modules[name]).__name__
        if name == head:
            found.append(Layer(name=name, kind=kind, channels=shape[1], places=1, classes=True))
        if len(shape) not in (3, 4) or isinstance(modules[name], HANDED_ON):
            continue
        last = name if name in windows else last
        follows = last if kind in ACTIVATIONS and last else ""
        last = "" if follows else last
        channels, places = (shape[1], shape[2] * shape[3]) if len(shape) == 4 else (shape[2], shape[1])
        found.append(Layer(name=name, kind=kind, channels=channels, places=places, follows=follows))
    return found


def usual_layer(layers: list[Layer]) -> Layer:
    """The last activation after a convolution; the last layer where there is none."""
    return next((layer for layer in reversed(layers) if layer.follows), layers[-1])


def find_layer(checkpoint: Checkpoint, name: str, channel: int = 0) -> Layer:
    """Raises LabError for a layer or a channel that there is not."""
    layers = {layer.name: layer for layer in layers_of(checkpoint)}
    if name not in layers:
        raise LabError(f"There is no layer {name[:60]!r} in this network: choose one of {', '.join(layers)}.")
    layer = layers[name]
    if not 0 <= channel < layer.channels:
        raise LabError(f"{name} has {layer.channels} channels, from 0 on: there is no channel {channel}.")
    return layer


def real_images(split: Split, most: int) -> tuple[np.ndarray, Split]:
    """The test images that responses are measured on, after their places in the split, ascending: those that
    core.data.splits.subset picks with seed 0, for a split may be sorted by class. Raises LabError where there are none."""
    if not len(split):
        raise LabError("This dataset has no test images to show to a unit: add some under Datasets, then train again.")
    if len(split) <= most:
        return np.arange(len(split)), split
    places = np.sort(stratified_order(split.labels, 0)[:most])
    return places, Split(images=split.images[places], labels=split.labels[places])


def responses_of(
    model: nn.Module, card: Card, layer: str, split: Split, on_progress: Progress | None = None
) -> np.ndarray:
    """(N, C) float32, of all units of a layer to all images; from disk where they were computed before."""
    device = next(model.parameters()).device.type
    return features_of(
        Responses(*enlarging(model, layer, split.images.shape[1], card.image_data.image_size)),
        DeviceImages(split, card.image_data, device),
        settings=card.model_config | {"layer": layer},
        amp=torch.autocast(device, enabled=False),
        words=f"showing {len(split):,} images to {layer}",
        on_progress=on_progress,
        folder="responses",
    ).numpy()


def enlarging(model: nn.Module, layer: str, side: int, size: int) -> tuple[nn.Module, str]:
    """The network behind a layer that enlarges images of `side` pixels to the `size` that it takes, and the name of its layer
    in there; the network itself where they have that size."""
    if side == size:
        return model, layer
    upscale = nn.Upsample((size, size), mode="bilinear")
    return nn.Sequential(OrderedDict(upscale=upscale, network=model)), f"network.{layer}"


def random_twin(model: nn.Module, seed: int) -> nn.Module:
    """The same network with random weights: what looks alike in both was not learned (Adebayo et al., arXiv:1810.03292).

    Weights are normal with variance 2 / fan-in (He et al., arXiv:1502.01852), norms as they start.
    """
    random = torch.Generator().manual_seed(seed)
    twin: nn.Module = clone_model(model)
    for module in twin.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_running_stats()
        for name, weight in module.named_parameters(recurse=False):
            if weight.ndim >= 2:
                fan_in = weight[0].numel()
                weight.copy_((torch.randn(weight.shape, generator=random) * (2 / fan_in) ** 0.5).to(weight))
            else:
                weight.fill_(1.0 if name == "weight" else 0.0)
    return twin


def _by_channel(x: Tensor) -> Tensor:
    """Maps (N, C, h, w), tokens (N, T, C) or logits (N, C), as (N, C, places)."""
    if x.ndim == 4:
        return x.flatten(2)
    return x.transpose(1, 2) if x.ndim == 3 else x[..., None]
