"""A network whose layers were changed after it was designed: channels taken out, norms folded away, factors in place of a
matrix. The changes are plain values on the checkpoint's card, so that it is rebuilt from the card and loads like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from core.common.errors import LabError
from core.models.heads import attention_layers, resize_heads
from core.models.pooling import POOLINGS, pooling_of, replace_pooling

MOST = 100_000
"""Channels or features of one layer: no network here comes near, and what a card claims is bounded."""
SIZES = {"in", "out", "rank"}
FLAGS = {"bias", "removed"}


def apply_changes(model: nn.Module, layers: Any) -> nn.Module:
    """The model with its layers changed, in place, with fresh weights where a size changed. Raises LabError.

    layers: name of a module -> `{"removed": true}` (the identity takes its place), or any of `in`, `out` (channels or
    features), `bias` (whether it has one) and `rank` (two layers in its place, the first with this many outputs); of a max
    pooling `{"pooling": kind}`, see core.models.pooling; or of an attention layer `{"heads": n, "kept": [0, 2, …]}`, where
    `kept` are the numbers of its heads before any was removed, if they are known. What is left out stays.
    """
    if not isinstance(layers, dict):
        raise LabError("changed_layers is not valid: it must map names of layers to their changes.")
    modules = dict(model.named_modules())
    for name, change in layers.items():
        module = modules.get(name)
        if module is None or not name:
            raise LabError(f"There is no layer named {str(name)[:60]!r} in this network: its card is damaged.")
        _check(name, change)
        if "heads" in change:
            _change_heads(name, module, **change)
            continue
        parent, _, child = name.rpartition(".")
        setattr(modules[parent], child, _changed(name, module, change))
    return model


def layer_changes(model: nn.Module, original: nn.Module) -> dict[str, dict[str, Any]]:
    """What `apply_changes` needs to make a network like `model` out of a fresh `original`. Only layers that both have."""
    found: dict[str, dict[str, Any]] = {}
    now = dict(model.named_modules())
    fewer = {name for name, layer in attention_layers(original).items() if layer.heads != now[name].heads}
    for name, before in original.named_modules():
        after = now.get(name)
        if name in fewer:
            kept = getattr(now[name], "kept", ())
            found[name] = {"heads": now[name].heads} | ({"kept": list(kept)} if kept else {})
            continue
        if name.rpartition(".")[0] in fewer:
            continue
        if isinstance(before, nn.MaxPool2d) and after is not None and pooling_of(after):
            found[name] = {"pooling": pooling_of(after)}
            continue
        if after is None or not isinstance(before, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            continue
        if isinstance(after, nn.Identity):
            found[name] = {"removed": True}
            continue
        change: dict[str, Any] = {}
        if isinstance(after, nn.Sequential):  # two factors
            change["rank"] = _sizes(after[0])[1]
            first, last = after[0], after[1]
            sizes, bias = (_sizes(first)[0], _sizes(last)[1]), last.bias is not None
        else:
            sizes, bias = _sizes(after), after.bias is not None
        for key, value, old in zip(("in", "out"), sizes, _sizes(before), strict=True):
            if value != old:
                change[key] = value
        if bias != (before.bias is not None):
            change["bias"] = bias
        if change:
            found[name] = change
    return found


def _sizes(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, nn.Conv2d):
        return module.in_channels, module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    assert isinstance(module, nn.BatchNorm2d)
    return module.num_features, module.num_features


def _check(name: str, change: Any) -> None:
    if isinstance(change, dict) and set(change) == {"pooling"}:
        if change["pooling"] not in POOLINGS:
            raise LabError(f"The pooling of layer {name[:60]!r} is not one of {', '.join(POOLINGS)}.")
        return
    if isinstance(change, dict) and {"heads"} <= set(change) <= {"heads", "kept"}:
        return
    if not isinstance(change, dict) or not change or set(change) - SIZES - FLAGS:
        raise LabError(
            f"The change of layer {name[:60]!r} is not valid: it may set {', '.join(sorted(SIZES | FLAGS))}."
        )
    for key, value in change.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (isinstance(value, bool) if key in FLAGS else whole and 1 <= value <= MOST):
            raise LabError(f"{key}={repr(value)[:40]} of layer {name[:60]!r} is not valid.")


def _change_heads(name: str, module: Any, heads: Any, kept: Any = ()) -> None:
    if not hasattr(module, "head_size"):
        raise LabError(f"Layer {name[:60]!r} has no attention heads: its card is damaged.")
    if not isinstance(heads, int) or isinstance(heads, bool) or not 1 <= heads <= module.heads:
        raise LabError(f"heads={repr(heads)[:40]} of layer {name[:60]!r} is not valid: it must be 1 to {module.heads}.")
    numbers = isinstance(kept, list | tuple) and all(type(number) is int for number in kept)
    if not numbers or (kept and (len(kept) != heads or sorted(set(kept) & set(range(module.heads))) != list(kept))):
        raise LabError(
            f"kept={repr(kept)[:40]} of layer {name[:60]!r} is not valid: it must name {heads} heads in order."
        )
    resize_heads(module, heads, kept)


def _changed(name: str, module: nn.Module, change: dict[str, Any]) -> nn.Module:
    if "pooling" in change:
        if not isinstance(module, nn.MaxPool2d):
            raise LabError(f"Layer {name[:60]!r} is no max pooling: its pooling cannot be replaced.")
        return replace_pooling(module, change["pooling"])
    if not isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
        raise LabError(f"Layer {name[:60]!r} cannot be changed: only convolutions, linear layers and batch norms can.")
    if change.get("removed"):
        return nn.Identity()
    if isinstance(module, nn.BatchNorm2d):
        if set(change) - {"in", "out", "removed"} or change.get("in", change.get("out")) != change.get("out"):
            raise LabError(
                f"The change of the batch norm {name[:60]!r} is not valid: set out alone, or in and out alike."
            )
        norm = nn.BatchNorm2d(change.get("out", module.num_features), eps=module.eps, momentum=module.momentum)
        norm.weight.requires_grad_(module.weight.requires_grad)
        return norm
    old_in, old_out = _sizes(module)
    inputs, outputs = change.get("in", old_in), change.get("out", old_out)
    bias = change.get("bias", module.bias is not None)
    rank = change.get("rank")
    layer: Callable[..., nn.Module] = nn.Linear
    mixing: Callable[..., nn.Module] = nn.Linear
    if isinstance(module, nn.Conv2d):
        if module.groups != 1 and set(change) != {"bias"}:
            raise LabError(f"Layer {name[:60]!r} cannot be changed: it works in groups of channels.")
        shape = {key: getattr(module, key) for key in ("kernel_size", "stride", "padding", "dilation", "groups")}
        layer, mixing = partial(nn.Conv2d, **shape), partial(nn.Conv2d, kernel_size=1)
    if rank:
        new: nn.Module = nn.Sequential(layer(inputs, rank, bias=False), mixing(rank, outputs, bias=bias))
    else:
        new = layer(inputs, outputs, bias=bias)
    trained = module.weight.requires_grad
    for parameter in new.parameters():
        parameter.requires_grad_(trained or parameter.ndim == 1)
    return new.to(module.weight.device, torch.float32)
