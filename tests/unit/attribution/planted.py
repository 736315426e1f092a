"""A network that looks at one patch of the image and at nothing else, and an image that has something there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.checkpoints.store import Card, Checkpoint
from core.data.dataset import ImageCard
from core.inference.images import normalise
from core.models import build_model
from tests.unit.builders import synthetic

SIDE, CELL = 32, 4
PATCH = np.s_[8:16, 20:28]
"""Whole cells, away from the centre."""
TARGET, NOTHING = 2, 3
"""A class that the patch speaks for, and one that depends on no pixel at all."""
CARD = Card(
    title="Planted",
    model="planted",
    model_config={},
    dataset=ImageCard(
        name="planted",
        title="Planted",
        classes=("a", "b", "c", "d"),
        image_size=SIDE,
        mean=(0.4, 0.4, 0.4),
        std=(0.25, 0.25, 0.25),
    ),
)


class Planted(nn.Module):
    """Fires where a 4x4 cell is bright, and counts the cells of the patch that fire. (N, 3, 32, 32) to (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, CELL, stride=CELL)
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.head = nn.Linear((SIDE // CELL) ** 2, 4)
        with torch.no_grad():
            # Weights that differ, so that no two pixels of a cell are worth the same.
            self.conv.weight.copy_(torch.linspace(0.5, 1.5, 3 * CELL**2).view(1, 3, CELL, CELL) / (3 * CELL**2))
            self.conv.bias.fill_(-0.5)
            for part in (self.head.weight, self.head.bias):
                part.zero_()
            looked_at = torch.from_numpy(inside()[::CELL, ::CELL].copy()).flatten()
            self.head.weight[0, looked_at] = -0.4
            self.head.weight[TARGET, looked_at] = 0.8
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flatten(self.relu(self.conv(x))))


def inside() -> np.ndarray:
    """(32, 32) bool: the patch."""
    found = np.zeros((SIDE, SIDE), dtype=bool)
    found[PATCH] = True
    return found


def planted() -> Checkpoint:
    return Checkpoint("planted", CARD, Planted())


def random_image(seed: int = 0) -> np.ndarray:
    """(32, 32, 3) uint8: dark noise, at which no cell fires, and a bright patch."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 100, (SIDE, SIDE, 3))
    pixels[PATCH] = random.integers(180, 256, (8, 8, 3))
    return pixels.astype(np.uint8)


def normalised(pixels: np.ndarray, card: Card = CARD) -> Tensor:
    """(1, 3, 32, 32)"""
    return normalise(torch.from_numpy(pixels[None].copy()), card)


DATA = synthetic(held_out=20)


def small(name: str = "simple_cnn", **config: Any) -> Checkpoint:
    """An untrained network whose weights and norms are away from where they start: at rest, they hide mistakes."""
    torch.manual_seed(0)
    widths = {"simple_cnn": {"widths": (8, 8)}, "fast_resnet": {"widths": (8, 8, 8)}}.get(name, {})
    model = build_model(name, {"classes": 4} | widths | config).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.2)
    return network(model)


def network(model: nn.Module) -> Checkpoint:
    card = Card(title="Small", model="simple_cnn", model_config={}, dataset=DATA.card)
    return Checkpoint("small", card, model.eval().requires_grad_(False))


def hooks(model: nn.Module) -> int:
    """All that is hooked anywhere in a network."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
