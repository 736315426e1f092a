"""Attention heads of a network: which layers have them, and taking some of them out for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from core.common.errors import LabError

Head = tuple[int, int]
"""Layer and number of a head, from 0."""


def attention_layers(model: nn.Module) -> dict[str, Any]:
    """Name -> layer of every self-attention, in the network's order; empty for a network without any.

    Such a layer has `heads`, `head_size` and the linear layers `qkv` and `out`; and `kept` once heads were removed: the numbers
    that the others had in the whole network, empty where nobody noted them.
    """
    return {name: module for name, module in model.named_modules() if hasattr(module, "head_size")}


def head_numbers(attention: Any) -> tuple[int, ...]:
    """What each head of a layer is called: its place in the whole network, from 0."""
    return getattr(attention, "kept", ()) or tuple(range(attention.heads))


def list_heads(model: nn.Module) -> list[Head]:
    """All heads, layer by layer."""
    layers = enumerate(attention_layers(model).values())
    return [(layer, head) for layer, attention in layers for head in head_numbers(attention)]


@torch.no_grad()
def keep_heads(attention: Any, kept: Sequence[int]) -> None:
    """Take all other heads out of a layer, in place: its matrices become smaller, and the rest computes as before.

    Raises LabError where no head would be left, or for a head that there is not.
    """
    old: int = attention.heads
    if not kept or not set(kept) <= set(range(old)) or len(set(kept)) < len(kept):
        raise LabError(f"A layer keeps at least one of its {old} heads, each once: choose which.")
    qkv, out, size = attention.qkv, attention.out, attention.head_size
    if not isinstance(qkv, nn.Linear) or not isinstance(out, nn.Linear):
        raise LabError("The matrices of this attention layer are in factors: remove heads before that step.")
    places = torch.cat([torch.arange(head * size, (head + 1) * size) for head in kept])
    parts = qkv.weight.view(3, -1, qkv.in_features)[:, places]
    numbers = tuple(head_numbers(attention)[head] for head in kept) if getattr(attention, "kept", True) else ()
    resize_heads(attention, len(kept), numbers)
    attention.qkv.weight.copy_(parts.reshape(-1, parts.shape[-1]))
    attention.out.weight.copy_(out.weight[:, places])
    if out.bias is not None:
        attention.out.bias.copy_(out.bias)


def resize_heads(attention: Any, heads: int, kept: Sequence[int]) -> None:
    """Give a layer so many heads of the size they have, in place, with fresh weights. kept: their numbers, see above."""
    inner = heads * attention.head_size
    for name, inputs, outputs in (("qkv", None, 3 * inner), ("out", inner, None)):
        old: nn.Linear = getattr(attention, name)
        new = nn.Linear(inputs or old.in_features, outputs or old.out_features, bias=old.bias is not None)
        new.requires_grad_(old.weight.requires_grad)
        setattr(attention, name, new.to(old.weight))
    attention.heads, attention.kept = heads, tuple(kept)
