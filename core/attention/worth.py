"""What a head is worth: how many bits per character a language model loses without it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.common.errors import LabError
from core.common.values import t_half_width
from core.data.dataset import UNKNOWN

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.heads import Head

TOGETHER = 8
"""Windows in one pass."""


def count_windows(length: int, context: int, characters: int) -> tuple[int, int]:
    """How many windows of a text of that length score about `characters`, and how many characters each of them scores."""
    scored = max(1, context - context // 4)
    return min(-(-characters // scored), (length - 1 - context) // scored + 1), scored


def window_seconds(model: Any) -> float:
    """Measured: a window without each head in turn, processor time of this thread."""
    import torch

    context = int(model.config.context)
    tokens = torch.zeros((1, context + 1), dtype=torch.int64, device=next(model.parameters()).device)
    scored = count_windows(context + 1, context, 1)[1]
    begun = time.thread_time()  # what else the machine does just now says nothing of the run
    with torch.no_grad():
        _losses_without(model, tokens[:, :-1], tokens[:, 1:], scored)
    return time.thread_time() - begun


def make_windows(tokens: np.ndarray, context: int, characters: int) -> tuple[np.ndarray, int]:
    """Windows (N, context + 1) that overlap by a quarter, and how many characters at the end of each are scored.

    Together they score about `characters`; each scored one has at least a quarter of the context before it. Windows with a
    character that the model does not know are left out. Raises LabError for a text shorter than one window.
    """
    count, scored = count_windows(len(tokens), context, characters)
    found = [tokens[at : at + context + 1] for at in range(0, count * scored, scored)]
    found = [window for window in found if (window != UNKNOWN).all()]
    if count < 1 or len(found) < 2:
        raise LabError(
            f"The text is too short to measure heads: it needs {2 * context:,} characters that the model knows."
        )
    return np.stack(found), scored


def head_losses(model: Any, windows: np.ndarray, scored: int, begin: int = 0) -> Iterator[np.ndarray]:
    """For groups of windows, from number `begin` on: (B, 1 + heads) mean loss of the scored characters, bits, first of the
    whole network, then without each head of `list_heads` in turn.

    A head is taken out by leaving out what it adds to the residual stream; everything after it is computed again.
    """
    import torch

    device = next(model.parameters()).device
    for start in range(begin, len(windows), TOGETHER):
        group = torch.from_numpy(windows[start : start + TOGETHER]).to(device)
        with torch.no_grad():
            yield _losses_without(model, group[:, :-1], group[:, 1:], scored).cpu().numpy()


def _losses_without(model: Any, inputs: Tensor, wanted: Tensor, scored: int) -> Tensor:
    import torch

    x = model.enter(inputs)
    columns: list[Tensor] = []
    for layer, block in enumerate(model.blocks):
        attention, inner = block.attention, block.norm1(x)
        query, key, value = attention.project(inner)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)  # (B, H, T, size)
        whole = x + attention.out(mixed.transpose(1, 2).flatten(2))
        for head in range(attention.heads):
            part = attention.out.weight[:, head * attention.head_size : (head + 1) * attention.head_size]
            changed = block.feed_forward(whole - mixed[:, head] @ part.T)
            columns.append(_loss(model, _read_on(model, changed, layer + 1), wanted, scored))
        x = block.feed_forward(whole)
    return torch.stack([_loss(model, x, wanted, scored), *columns], 1)


def _read_on(model: Any, x: Tensor, layer: int) -> Tensor:
    for block in model.blocks[layer:]:
        x, _ = block(x, None)
    return x


def _loss(model: Any, x: Tensor, wanted: Tensor, scored: int) -> Tensor:
    """(B,) bits."""
    import torch.nn.functional as F

    logits = model.leave(x[:, -scored:])
    losses = F.cross_entropy(logits.flatten(0, 1), wanted[:, -scored:].flatten(), reduction="none")
    return losses.view(len(x), scored).mean(1) / math.log(2)


def joint_losses(model: Any, others: Sequence[tuple[Any, int]], windows: np.ndarray, scored: int) -> np.ndarray:
    """(N, others) mean loss of the scored characters of every window, bits, of networks that differ from `model` from a
    layer on: (network, layer) each."""
    import torch

    device = next(model.parameters()).device
    found = []
    for start in range(0, len(windows), TOGETHER):
        group = torch.from_numpy(windows[start : start + TOGETHER]).to(device)
        with torch.no_grad():
            inputs = [model.enter(group[:, :-1])]
            for block in model.blocks:
                inputs.append(block(inputs[-1], None)[0])
            losses = [
                _loss(other, _read_on(other, inputs[layer], layer), group[:, 1:], scored) for other, layer in others
            ]
        found.append(torch.stack(losses, 1).cpu().numpy())
    return np.concatenate(found)


def cost(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Mean rise in bits per character and half of its 95% interval, over windows (N,) of the same text."""
    rise = (after - before).astype(np.float64)
    return float(rise.mean()), t_half_width(rise.tolist()) or 0.0


def cheapest(costs: Sequence[tuple[Head, float]], heads_of_layer: Sequence[int], most: int) -> list[Head]:
    """The heads that cost least, cheapest first, at most `most`; each layer keeps one."""
    left = list(heads_of_layer)
    found: list[Head] = []
    for (layer, head), _ in sorted(costs, key=lambda item: item[1]):
        if len(found) < most and left[layer] > 1:
            left[layer] -= 1
            found.append((layer, head))
    return found
