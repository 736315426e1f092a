"""What a network is made of: parameters, multiply-adds and zeros, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.compression.results import HISTOGRAM_BINS, Layer

KINDS: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("conv", (nn.Conv1d, nn.Conv2d, nn.Conv3d)),
    ("linear", (nn.Linear,)),
    ("recurrent", (nn.RNNBase,)),
    ("embedding", (nn.Embedding,)),
    ("norm", (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)),
)
PRUNABLE = ("conv", "linear", "recurrent")


def layers_of_images(model: nn.Module, side: int) -> tuple[tuple[Layer, ...], int]:
    """Every layer with weights, and the multiply-adds of the whole network for one image of side×side pixels.

    Counted while it answers one: `torch.utils.flop_counter` counts 2 operations for a multiply-add of a convolution or a
    matrix product, here halved. Norms, activations and pooling count nothing. A layer that was split in two has two rows.
    """
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.zeros(1, 3, side, side, device=device))
    root = type(model).__name__
    counts = {name: sum(counted.values()) // 2 for name, counted in counter.get_flop_counts().items()}
    layers = _layers(model, lambda name, module: counts.get(f"{root}.{name}", 0))
    return layers, counter.get_total_flops() // 2


def layers_of_text(model: nn.Module) -> tuple[tuple[Layer, ...], int]:
    """The same for a language model that writes one character with its state carried (core.inference.decoding).

    By shapes: fused recurrent kernels are not counted by torch. What the first recurrent layer makes of a character is looked
    up, so its input weights cost nothing there. Attention is counted over a full context, in the total alone: it has no
    weights of its own.
    """
    config: Any = model.config
    recurrent = bool(getattr(model, "recurrent", False))
    tied = not recurrent or getattr(model, "head", None) is None
    first = next((module for module in model.modules() if isinstance(module, nn.RNNBase)), None)

    def macs(name: str, module: nn.Module) -> int:
        if isinstance(module, nn.Linear):
            return module.weight.numel()
        if isinstance(module, nn.RNNBase):
            own = dict(module.named_parameters())
            return own["weight_hh_l0"].numel() + (0 if module is first else own["weight_ih_l0"].numel())
        return int(module.weight.numel()) if tied and name == "embed" and isinstance(module, nn.Embedding) else 0

    layers = _layers(model, macs)
    attention = 0 if recurrent else 2 * config.width * config.context * config.layers
    return layers, sum(layer.macs for layer in layers) + attention


def zeros_of(model: nn.Module) -> float:
    """Share of the weights of convolutions, linear and recurrent layers that are zero, 0..1; biases are left out."""
    weights = [w for module in model.modules() if kind_of(module) in PRUNABLE for w in _weights(module)]
    total = sum(w.numel() for w in weights)
    return sum(int((w == 0).sum()) for w in weights) / total if total else 0.0


def bytes_in_int8(model: nn.Module) -> int:
    """Bytes of the weights of a recurrent model that writes in 8 bits: 1 for each weight of a recurrent or linear layer and a
    float32 scale for each of its outputs; 4 for whatever else there is.
    """
    small = [w for module in model.modules() if kind_of(module) in ("linear", "recurrent") for w in _weights(module)]
    in_8_bits = sum(w.numel() for w in small)
    scales = sum(w.shape[0] for w in small)
    everything = sum(parameter.numel() for parameter in model.parameters())
    return in_8_bits + 4 * scales + 4 * (everything - in_8_bits)


def kind_of(module: nn.Module) -> str:
    """`conv`, `linear`, `recurrent`, `embedding`, `norm`, or empty."""
    return next((kind for kind, types in KINDS if isinstance(module, types)), "")


def _layers(model: nn.Module, macs: Any) -> tuple[Layer, ...]:
    found = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        weights = _weights(module)
        flat = torch.cat([w.detach().flatten() for w in weights]).float().cpu() if weights else torch.zeros(0)
        histogram, limit = _histogram(flat)
        found.append(
            Layer(
                name=name or "output",  # parameters that belong to no module but the network: the bias of tied weights
                kind=kind_of(module) or "linear",
                parameters=sum(parameter.numel() for parameter in own),
                macs=macs(name, module),
                zeros=float((flat == 0).float().mean()) if len(flat) else 0.0,
                shape=tuple(weights[0].shape) if weights else (),
                histogram=histogram,
                limit=limit,
            )
        )
    return tuple(found)


def _weights(module: nn.Module) -> list[Tensor]:
    return [value for name, value in module.named_parameters(recurse=False) if name.startswith("weight")]


def _histogram(flat: Tensor) -> tuple[tuple[int, ...], float]:
    values = flat[flat.isfinite()].numpy()
    limit = float(np.abs(values).max()) if len(values) else 0.0
    if not len(values):
        return (), 0.0
    span = limit or 1.0  # all zero: all in the middle
    counts, _ = np.histogram(values, HISTOGRAM_BINS, (-span, span))
    return tuple(counts.tolist()), limit
