"""What each head of a language model looks at, character by character."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.attention.config import head_names
from core.attention.rollout import require_finite, roll_out
from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.inference.text import read
from core.models import MODELS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextHeads:
    """Attention of all heads on a text of T characters."""

    text: str
    """As the model read it."""
    dropped: int
    """Characters before it that are beyond the model's context."""
    heads: tuple[str, ...]
    """`LAYER.HEAD` of all, layer by layer."""
    weights: tuple[np.ndarray, ...]
    """Of each layer (heads, T, T) float32: row t says what character t looks at; rows sum to 1."""
    rollout: np.ndarray
    """(T, T) float32, through all layers."""
    probabilities: np.ndarray
    """(V,) float32: of the character after the text."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "dropped": self.dropped,
            "heads": list(self.heads),
            "weights": [layer.round(6).tolist() for layer in self.weights],
            "rollout": self.rollout.round(6).tolist(),
        }


def has_text_attention(card: Card) -> bool:
    return card.task == "text" and card.model in MODELS and MODELS[card.model].attention


def require_text_attention(card: Card) -> None:
    """Raises LabError for a checkpoint whose network reads a text without attention, or reads no text."""
    if not has_text_attention(card):
        raise LabError(f"{card.title[:100]} has no attention over a text: choose a GPT.")


def text_heads(checkpoint: Checkpoint, text: str) -> TextHeads:
    """Attention on the last characters of a text, as many as the context has.

    Raises LabError for fewer than two characters, and a network without attention over a text.
    """
    import torch

    with torch.no_grad():
        kept, tokens, dropped = read_context(checkpoint, text)
        weights, logits = weights_of(checkpoint.model, tokens)
        rolled = roll_out([layer.clone() for layer in weights])
        probabilities = logits[0, -1].float().softmax(0).cpu().numpy()
    require_finite(checkpoint.card, probabilities)
    return TextHeads(
        text=kept,
        dropped=dropped,
        heads=head_names(checkpoint.model),
        weights=tuple(layer.float().cpu().numpy() for layer in weights),
        rollout=rolled.float().cpu().numpy(),
        probabilities=probabilities,
    )


def read_context(checkpoint: Checkpoint, text: str) -> tuple[str, Tensor, int]:
    """The end of a text that fits the context, its tokens (T,), and how many characters do not fit. Raises LabError."""
    import torch

    require_text_attention(checkpoint.card)
    reading = read(text, checkpoint.card.text_data.vocabulary)
    if len(reading.text) < 2:
        raise LabError("Attention needs at least two characters: write a longer text.")
    model: Any = checkpoint.model
    context = int(model.config.context)
    device = next(model.parameters()).device
    tokens = torch.from_numpy(np.ascontiguousarray(reading.tokens[-context:])).to(device)
    return reading.text[-context:], tokens, max(0, len(reading.text) - context)


def weights_of(model: Any, tokens: Tensor) -> tuple[list[Tensor], Tensor]:
    """Attention of each layer (heads, T, T) as it reads tokens (T,), and the logits (1, T, V)."""
    weights: list[Tensor] = []

    def keep(layer: int, found: Tensor) -> Tensor:
        weights.append(found[0])
        return found

    logits = forward_with(model, tokens[None], keep)
    return weights, logits


def forward_with(model: Any, tokens: Tensor, change: Callable[[int, Tensor], Tensor]) -> Any:
    """Logits (B, T, V) of a CharGPT in which each layer's attention (B, heads, T, T) is what `change(layer, weights)` gives."""
    x = model.enter(tokens)
    for layer, block in enumerate(model.blocks):
        inner = block.norm1(x)
        weights = change(layer, block.attention.weights(inner))
        x = block.feed_forward(x + attend(block.attention, inner, weights))
    return model.leave(x)


def attend(attention: Any, inner: Tensor, weights: Tensor) -> Any:
    """The output of an attention layer (B, T, width) that uses the given weights (B, heads, T, T)."""
    value = attention.project(inner)[2]
    return attention.out((weights @ value).transpose(1, 2).flatten(2))
