"""A compact convolutional Transformer: convolutions make the tokens, attention mixes them, a learned weighting pools them.

Source: Hassani et al., "Escaping the Big Data Paradigm with Compact Transformers", arXiv:2104.05704 (CCT-2/3x2).
Every module is called once per forward pass and nothing works in place, so attribution methods can hook it.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from core.common.errors import LabError
from core.common.settings import Count, Probability, Settings
from core.models.stochastic_depth import branch

MOST_SIDE = 15
"""Tokens along a side: larger images pass more convolutions, because attention costs the square of the tokens."""


class CompactTransformerConfig(Settings):
    classes: Count = 10
    """Number of labels."""
    image_size: Annotated[int, Field(ge=16)] = 32
    """Height and width of the input, pixels."""
    width: Annotated[int, Field(ge=4, le=1024)] = 128
    """Width of the residual stream."""
    layers: Annotated[int, Field(ge=1, le=24)] = 2
    """Blocks of attention and feed-forward network."""
    heads: Annotated[int, Field(ge=1, le=32)] = 2
    """Attention heads of each block; must divide the width."""
    mlp_ratio: Annotated[int, Field(ge=1, le=8)] = 1
    """Width of the feed-forward networks, as a multiple of `width`."""
    dropout: Probability = 0.0
    """Dropout probability of the tokens and of both branches."""
    stochastic_depth: Probability = 0.0
    """Probability of leaving out the last residual branch; earlier ones less, linearly (arXiv:1603.09382)."""

    @model_validator(mode="after")
    def _check_heads(self) -> CompactTransformerConfig:
        if self.width % self.heads:
            raise LabError(f"heads={self.heads} is not valid: it must divide the width, {self.width}.")
        return self


class Attention(nn.Module):
    """Self-attention among all tokens. (N, T, width) to the same."""

    def __init__(self, config: CompactTransformerConfig) -> None:
        super().__init__()
        self.heads, self.head_size = config.heads, config.width // config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.softmax = nn.Softmax(-1)
        """A layer, so that the weights (N, heads, T, T) and their gradients can be hooked."""
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).view(*x.shape[:2], 3, self.heads, self.head_size)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (N, heads, T, head size) each
        y = self.softmax(query @ key.transpose(-2, -1) / math.sqrt(self.head_size)) @ value
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then a feed-forward network; each adds to what came in."""

    def __init__(self, config: CompactTransformerConfig, number: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.drop1 = nn.Dropout(config.dropout)
        self.depth1 = branch(config.stochastic_depth, 2 * number - 1, 2 * config.layers)
        self.norm2 = nn.LayerNorm(config.width)
        self.feed = nn.Linear(config.width, config.mlp_ratio * config.width)
        self.act = nn.GELU()
        self.back = nn.Linear(config.mlp_ratio * config.width, config.width)
        self.drop2 = nn.Dropout(config.dropout)
        self.depth2 = branch(config.stochastic_depth, 2 * number, 2 * config.layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.depth1(self.drop1(self.attention(self.norm1(x))))
        return x + self.depth2(self.drop2(self.back(self.act(self.feed(self.norm2(x))))))


class CompactTransformer(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, classes).

    Two convolutions with pooling turn 32x32 pixels into 8x8 tokens; each further doubling of the size adds one.
    """

    def __init__(self, config: CompactTransformerConfig) -> None:
        super().__init__()
        self.config = config
        convolutions, side = 0, config.image_size
        while convolutions < 2 or side > MOST_SIDE:
            convolutions, side = convolutions + 1, math.ceil(side / 2)
        self.side = side
        """Tokens along a side."""
        layers: list[nn.Module] = []
        channels = 3
        for number in range(convolutions):
            outputs = config.width if number == convolutions - 1 else max(4, config.width // 2)
            # Pooling before ReLU is the same function, with ReLU on a quarter of the values.
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.MaxPool2d(3, 2, 1), nn.ReLU()]
            nn.init.kaiming_normal_(layers[-3].weight)  # type: ignore[arg-type]
            channels = outputs
        self.tokenizer = nn.Sequential(*layers)
        self.flatten = nn.Flatten(2)
        self.position = nn.Parameter(torch.empty(1, side * side, config.width))
        nn.init.trunc_normal_(self.position, std=0.2)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, number + 1) for number in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.pool = nn.Linear(config.width, 1)
        self.share = nn.Softmax(1)
        self.head = nn.Linear(config.width, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.flatten(self.tokenizer(x)).transpose(1, 2)  # (N, T, width)
        tokens = self.drop(tokens + self.position)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        share = self.share(self.pool(tokens))  # (N, T, 1)
        return self.head((share * tokens).sum(1))
