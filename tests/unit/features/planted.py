"""A network with known units, and images of known colours."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from core.checkpoints.store import Card, Checkpoint
from core.data.dataset import ImageDataset, Split
from core.models import build_model
from tests.unit.builders import synthetic

RED, DEAD, FIRST_COPY, SECOND_COPY = 0, 1, 2, 3
LAYER = "relu1"


def planted() -> Checkpoint:
    """A simple_cnn whose first layer has a filter for red, one that is never above 0, and one twice."""
    torch.manual_seed(0)
    config = {"classes": 4, "image_size": 32, "widths": (8, 8)}
    model = build_model("simple_cnn", config).eval().requires_grad_(False)
    first = model.conv1
    first.weight.copy_(first.weight.mean(1, keepdim=True).expand(-1, 3, -1, -1))  # the others see no colour
    first.weight[RED] = torch.tensor([1.0, -0.5, -0.5])[:, None, None].expand(3, 3, 3)
    first.bias[RED] = 0.0
    first.weight[DEAD], first.bias[DEAD] = 0.0, -1.0
    first.weight[SECOND_COPY], first.bias[SECOND_COPY] = 2 * first.weight[FIRST_COPY], 2 * first.bias[FIRST_COPY]
    card = Card(title="Planted", model="simple_cnn", model_config=config, dataset=coloured().card)
    return Checkpoint("planted", card, model)


def coloured(train: int = 200, test: int = 300) -> ImageDataset:
    """Noisy images of pale colours, of four classes; those of class 0 are red."""
    random = np.random.default_rng(0)

    def split(n: int) -> Split:
        labels = np.arange(n) % 4
        colours = random.integers(70, 140, (n, 1, 1, 3))
        colours[labels == 0] = (200, 40, 40)
        images = np.clip(colours + random.normal(0, 20, (n, 32, 32, 3)), 0, 255)
        return Split(images=images.astype(np.uint8), labels=labels)

    data = synthetic(train=4, held_out=4)
    return dataclasses.replace(data, train=split(train), validation=split(8), test=split(test))
