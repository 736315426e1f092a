"""The roofline of this machine and each layer of a network on it: measured peaks, counted work, and the time of each layer alone.

Source: Williams, Waterman & Patterson, doi:10.1145/1498765.1498785.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoints.store import load_checkpoint
from core.compression.measuring.counting import kind_of
from core.hardware.child import call_times
from core.hardware.results import LayerPoint, Roofline

SIDE = 1536
"""Of the square matrices whose product gives the peak of arithmetic."""
COPIED = 64_000_000
"""Numbers that are copied for the peak of memory: 256 MB, more than any cache."""
PEAK_ROUNDS = 7
LAYER_S, FEWEST_CALLS = 0.15, 3
FLOAT_BYTES = 4
KINDS: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("activation", (nn.ReLU, nn.GELU, nn.SiLU, nn.ReLU6, nn.Hardswish, nn.Sigmoid)),
    ("pooling", (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)),
)
"""Beside those with weights, see core.compression.measuring.counting."""


def measure_roofline(checkpoint: str, threads: int, batch_size: int) -> dict[str, Any]:
    """As plain values. checkpoint: its folder. threads: which this process has been given already."""
    loaded = load_checkpoint(checkpoint)
    side = loaded.card.image_data.image_size
    images = torch.rand(batch_size, 3, side, side, generator=torch.Generator().manual_seed(0))
    return dataclasses.asdict(
        Roofline(
            gflops_per_s=matmul_peak(),
            gbytes_per_s=memory_peak(),
            threads=threads,
            batch_size=batch_size,
            layers=layer_points(loaded.model, images),
        )
    )


def matmul_peak() -> float:
    """GFLOP/s of a float32 matrix product, the best of a few."""
    random = torch.Generator().manual_seed(0)
    a, b = (torch.rand(SIDE, SIDE, generator=random) for _ in range(2))
    return 2 * SIDE**3 / _best_s(lambda: a @ b) / 1e9


def memory_peak() -> float:
    """GB/s of a copy, the best of a few; each number is read and written."""
    source = torch.ones(COPIED)
    target = torch.empty_like(source)
    return 2 * FLOAT_BYTES * COPIED / _best_s(lambda: target.copy_(source)) / 1e9


def _best_s(work: Callable[[], Any]) -> float:
    work()
    return min(call_times(work, 0.0, PEAK_ROUNDS)) / 1000


@torch.inference_mode()
def layer_points(model: nn.Module, images: Tensor) -> tuple[LayerPoint, ...]:
    """Each layer whose work is known, in the order of a forward pass. images: (B, 3, H, W)."""
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: calls.append((name, module, inputs[0].clone(), output))

    hooks = [module.register_forward_hook(keep(name)) for name, module in model.named_modules() if layer_kind(module)]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(
        LayerPoint(
            name=name,
            kind=layer_kind(module),
            flops=count_flops(module, inputs, output),
            bytes=count_bytes(module, inputs, output),
            ms=_layer_ms(module, inputs),
        )
        for name, module, inputs, output in calls
    )


def layer_kind(module: nn.Module) -> str:
    """`conv`, `linear`, `norm`, `activation`, `pooling`, or empty."""
    kind = kind_of(module)
    if kind in ("conv", "linear", "norm"):
        return kind
    return next((name for name, types in KINDS if isinstance(module, types)), "")


def count_flops(module: nn.Module, inputs: Tensor, output: Tensor) -> int:
    """A multiply-add is two. Convolutions and linear layers without their biases; a norm scales and shifts each number;
    activations and poolings take one operation for each number they get."""
    if isinstance(module, nn.Conv2d):
        return 2 * output.numel() * (module.in_channels // module.groups) * math.prod(module.kernel_size)
    if isinstance(module, nn.Linear):
        return 2 * output.numel() * module.in_features
    return 2 * output.numel() if layer_kind(module) == "norm" else inputs.numel()


def count_bytes(module: nn.Module, inputs: Tensor, output: Tensor) -> int:
    """Inputs, weights and outputs in float32, each moved once."""
    weights = sum(parameter.numel() for parameter in module.parameters())
    return FLOAT_BYTES * (inputs.numel() + output.numel() + weights)


def _layer_ms(module: nn.Module, inputs: Tensor) -> float:
    module(inputs)
    return median(call_times(lambda: module(inputs), LAYER_S, FEWEST_CALLS))
