"""How much gradient reaches each layer of a checkpoint for one image, and the sum behind the gradient of one weight.

All in float64, so that two ways to compute one number can be told apart from rounding.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.backprop.results import Flow, LayerFlow, WeightGradient
from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.inference.images import normalise
from core.models import clone_model

STEP = 2.0**-22
"""Of a weight for its central difference, as a share of the layer's largest weight: so small that hardly a ReLU or a maximum
changes sides."""


@dataclass(kw_only=True)
class _Pass:
    """One pass of a network, whose tensors are kept."""

    model: nn.Module
    image: Tensor
    """(1, 3, H, W) float64."""
    target: int
    loss: Tensor = field(init=False)
    logits: Tensor = field(init=False)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    """Of each layer, in the order in which they compute."""


def trace(checkpoint: Checkpoint, pixels: np.ndarray, target: int | None = None) -> Flow:
    """Back-propagate the cross-entropy of an image (H, W, 3) uint8.

    target: the class that the loss asks for; by default the one that the network finds least wrong, its answer.
    """
    ran = _run(checkpoint, pixels, target)
    modules, uses = dict(ran.model.named_modules()), _uses(ran.loss)
    layers = [_layer("image", "input", ran.image)]
    for name, output in ran.outputs.items():
        skipped = uses.pop(ran.inputs[name].grad_fn, 1) > 1  # once, for the first layer that takes it
        layers.append(_layer(name, type(modules[name]).__name__, output, skipped=skipped))
    return Flow(
        layers=tuple(layers),
        loss_nats=float(ran.loss.detach()),
        target=ran.target,
        probabilities=tuple(ran.logits.detach().softmax(1)[0].tolist()),
    )


def weight_layers(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Layer -> shape of its weights: convolutions and dense layers."""
    return {
        name: tuple(module.weight.shape)
        for name, module in checkpoint.model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def weight_gradient(
    checkpoint: Checkpoint,
    pixels: np.ndarray,
    layer: str,
    index: tuple[int, ...] | None = None,
    target: int | None = None,
) -> WeightGradient:
    """The terms that sum to the gradient of one weight.

    index: of the weight; by default of the one with the largest gradient. Raises LabError for a layer or weight that there is
    not.
    """
    shapes = weight_layers(checkpoint)
    if layer not in shapes:
        raise LabError(f"There is no layer {layer[:60]!r} with weights: choose one that is listed.")
    shape = shapes[layer]
    if index is not None and (
        len(index) != len(shape) or any(not 0 <= i < n for i, n in zip(index, shape, strict=True))
    ):
        raise LabError(
            f"There is no such weight: give {len(shape)} numbers below {' × '.join(map(str, shape))}, from 0 on."
        )
    ran = _run(checkpoint, pixels, target)
    module = ran.model.get_submodule(layer)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    exact = module.weight.grad
    assert exact is not None
    if index is None:
        index = tuple(int(i) for i in np.unravel_index(int(exact.abs().argmax()), shape))
    above, local = _terms(module, ran.inputs[layer].detach(), _gradient(ran.outputs[layer]), index)
    return WeightGradient(
        layer=layer,
        index=index,
        weight=float(module.weight.detach()[index]),
        from_above=above,
        local=local,
        autograd=float(exact[index]),
        difference=_difference(ran, module, index),
    )


def _terms(
    module: nn.Conv2d | nn.Linear, x: Tensor, delta: Tensor, index: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """What came from above at each place (h, w), and the input value that the weight met there."""
    if isinstance(module, nn.Linear):
        return delta[0, index[0]].reshape(1, 1).numpy(), x[0, index[1]].reshape(1, 1).numpy()
    out, channel, row, column = index
    channel += out // (module.out_channels // module.groups) * (module.in_channels // module.groups)
    above = delta[0, out]
    if isinstance(module.padding, str):
        raise LabError("This convolution names its padding in words: choose another layer.")
    (pad_y, pad_x), (down, right), (gap_y, gap_x) = module.padding, module.stride, module.dilation
    padded = F.pad(x[0, channel], (pad_x, pad_x, pad_y, pad_y))
    top, left = row * gap_y, column * gap_x
    local = padded[
        top : top + (above.shape[0] - 1) * down + 1 : down, left : left + (above.shape[1] - 1) * right + 1 : right
    ]
    return above.numpy(), local.numpy()


def _difference(ran: _Pass, module: nn.Conv2d | nn.Linear, index: tuple[int, ...]) -> float:
    step = STEP * float(module.weight.detach().abs().max() or 1.0)
    target, losses = torch.tensor([ran.target]), []
    with torch.no_grad():
        before = float(module.weight[index])
        for moved in (before + step, before - step):
            module.weight[index] = moved
            losses.append(float(F.cross_entropy(ran.model(ran.image), target)))
        module.weight[index] = before
    return (losses[0] - losses[1]) / (2 * step)


def _run(checkpoint: Checkpoint, pixels: np.ndarray, target: int | None) -> _Pass:
    model = clone_model(checkpoint.model).double().eval()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    image = normalise(torch.from_numpy(pixels[None].copy()), checkpoint.card).double().requires_grad_(True)
    found = _Pass(model=model, image=image, target=0)
    hooks = []
    for name, module in model.named_modules():
        if any(True for _ in module.children()):
            continue
        if hasattr(module, "inplace"):
            module.inplace = False  # it would overwrite what is kept here
        if not isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d | nn.Flatten):
            hooks.append(module.register_forward_hook(lambda module, args, output, name=name: keep(name, args, output)))

    def keep(name: str, args: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        found.inputs[name], found.outputs[name] = args[0], output

    found.logits = model(image)
    for hook in hooks:
        hook.remove()
    classes = found.logits.shape[1]
    found.target = int(found.logits.argmax()) if target is None else target
    if not 0 <= found.target < classes:
        raise LabError(f"There is no class {found.target}: choose one from 0 to {classes - 1}.")
    found.loss = F.cross_entropy(found.logits, torch.tensor([found.target]))
    found.loss.backward()
    return found


def _uses(loss: Tensor) -> Counter[Any]:
    """How many operations take what each operation computed."""
    found: Counter[Any] = Counter()
    todo: list[Any] = [loss.grad_fn]
    while todo:
        taken = [node for node, _ in todo.pop().next_functions if node is not None]
        todo += [node for node in taken if node not in found]
        found.update(taken)
    return found


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _layer(name: str, kind: str, output: Tensor, *, skipped: bool = False) -> LayerFlow:
    gradient = _gradient(output)
    values = output.detach()
    blocked = (values <= 0) | (values >= 6) if kind == "ReLU6" else values <= 0
    return LayerFlow(
        name=name,
        kind=kind,
        shape=tuple(output.shape[1:]),
        activation_rms=float(values.square().mean().sqrt()),
        gradient_norm=float(gradient.norm()),
        dead=float(blocked.double().mean()) if kind in ("ReLU", "ReLU6") else None,
        skipped=skipped,
    )
