"""A small decoder-only Transformer over characters, with a cache of keys and values for sampling.

Layer norm before each part, learned positions, output weights tied to the embedding. Sources: Vaswani et al.,
arXiv:1706.03762; Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from core.common.errors import LabError
from core.common.settings import Probability, Settings

State = list[tuple[Tensor, ...]]
"""Per layer (keys, values), each (B, heads, T, width / heads) of the characters read so far."""


class CharGPTConfig(Settings):
    vocabulary: Annotated[int, Field(ge=2, le=10_000)] = 65
    """Number of characters."""
    context: Annotated[int, Field(ge=2, le=8192)] = 256
    """Characters that attention can reach, this one included."""
    width: Annotated[int, Field(ge=2, le=4096)] = 192
    """Width of the residual stream."""
    layers: Annotated[int, Field(ge=1, le=48)] = 6
    """Blocks of attention and feed-forward network."""
    heads: Annotated[int, Field(ge=1, le=64)] = 6
    """Attention heads of each block; must divide the width."""
    dropout: Probability = 0.2
    """Dropout probability of embeddings and both branches."""
    attention_dropout: Probability = 0.0
    """Dropout probability of attention weights. On a CPU it halves the speed: the fused kernel has none."""

    @model_validator(mode="after")
    def _check_heads(self) -> CharGPTConfig:
        if self.width % self.heads:
            raise LabError(f"heads={self.heads} is not valid: it must divide the width, {self.width}.")
        return self


class Attention(nn.Module):
    """Causal self-attention. (B, T, width) to the same; the cache holds what came before."""

    def __init__(self, config: CharGPTConfig) -> None:
        super().__init__()
        self.heads, self.head_size = config.heads, config.width // config.heads
        self.dropout = config.attention_dropout
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, past: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, time, _ = x.shape
        query, key, value = self.project(x)
        mask = None
        causal = past is None or not past[0].shape[2]  # a constant where there is no past, as exporters need it
        if past is not None and not causal:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
            if time > 1:
                mask = torch.ones(time, key.shape[2], dtype=torch.bool, device=x.device).tril(key.shape[2] - time)
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=p, is_causal=causal)
        return self.out(y.transpose(1, 2).reshape(batch, time, -1)), (key, value)

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values of (B, T, width): (3, B, heads, T, head size)."""
        return self.qkv(x).view(*x.shape[:2], 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4)

    def weights(self, x: Tensor) -> Tensor:
        """What attention looks at, written out: (B, heads, T, T), rows sum to 1 and look back only."""
        query, key, _ = self.project(x)
        scores = query @ key.transpose(-2, -1) / math.sqrt(self.head_size)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        return scores.masked_fill(future, -math.inf).softmax(-1)


class Block(nn.Module):
    """Attention, then a feed-forward network of four times the width; each adds to what came in."""

    def __init__(self, config: CharGPTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, bias=False)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, bias=False)
        self.feed = nn.Linear(config.width, 4 * config.width, bias=False)
        self.act = nn.GELU()
        self.back = nn.Linear(4 * config.width, config.width, bias=False)
        self.drop1 = nn.Dropout(config.dropout)
        self.drop2 = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, past: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, kept = self.attention(self.norm1(x), past)
        return self.feed_forward(x + self.drop1(attended)), kept

    def feed_forward(self, x: Tensor) -> Tensor:
        """The second half of the block, on what attention made of its input."""
        return x + self.drop2(self.back(self.act(self.feed(self.norm2(x)))))


class CharGPT(nn.Module):
    """Tokens (B, T) int64 and a cache to logits (B, T, vocabulary) and the cache after the last of them."""

    recurrent = False

    def __init__(self, config: CharGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Embedding(config.context, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                # Branches that add to the residual stream start smaller, the more of them there are (GPT-2).
                small = (2 * config.layers) ** -0.5 if name.endswith(("out.weight", "back.weight")) else 1.0
                nn.init.normal_(parameter, std=0.02 * small)
        self.random_in_training = config.dropout > 0 or config.attention_dropout > 0

    def initial_state(self, batch: int) -> State:
        """An empty cache for `batch` streams."""
        parts: list[Any] = [block.attention for block in self.blocks]
        empty = [self.embed.weight.new_zeros(batch, part.heads, 0, part.head_size) for part in parts]
        return [(none, none) for none in empty]

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Raises LabError where cache and tokens together are longer than the context."""
        before = state[0][0].shape[2] if state else 0
        time = tokens.shape[1]
        if before + time > self.config.context:
            raise LabError(f"{before + time} characters do not fit a context of {self.config.context}: shorten them.")
        x = self.enter(tokens, before)
        after: State = []
        for index, block in enumerate(self.blocks):
            x, kept = block(x, state[index] if state else None)
            after.append(kept)
        return self.leave(x), after

    def enter(self, tokens: Tensor, before: int = 0) -> Tensor:
        """What the first block reads of tokens (B, T) after `before` others: (B, T, width)."""
        return self.drop(self.embed(tokens) + self.position.weight[before : before + tokens.shape[1]])

    def leave(self, x: Tensor) -> Tensor:
        """Logits (B, T, vocabulary) of what the last block gives."""
        return F.linear(self.norm(x), self.embed.weight)  # tied: arXiv:1608.05859
