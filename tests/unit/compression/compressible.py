"""Small untrained checkpoints for the methods that compress them, with batch norms as training leaves them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.checkpoints.store import Card, Checkpoint, load_checkpoint, save_checkpoint
from core.data.dataset import DatasetCard, ImageCard, TextCard
from core.models import MODELS, build_model

IMAGES = ImageCard(
    name="squares",
    title="Squares",
    classes=tuple(f"class {number}" for number in range(10)),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
TEXT = TextCard(name="verses", title="Verses", vocabulary="".join(chr(97 + index) for index in range(20)))
SMALL_WRITERS: dict[str, dict[str, Any]] = {
    "char_lstm": {"vocabulary": 20, "embedding": 12, "width": 24, "layers": 1},
    "char_gru": {"vocabulary": 20, "embedding": 24, "width": 24, "tied": True},
    "char_gpt": {"vocabulary": 20, "context": 16, "width": 24, "layers": 1, "heads": 2},
}


def network(name: str = "fast_resnet", seed: int = 0, **config: Any) -> Checkpoint:
    """An untrained network without zeros, whose batch norms have statistics, shifts and (where trained) scales."""
    torch.manual_seed(seed)
    model = build_model(name, config)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.bias, -0.2, 0.4)
            if module.weight.requires_grad:
                nn.init.uniform_(module.weight, 0.5, 1.5)
    data: DatasetCard = IMAGES if MODELS[name].task == "images" else TEXT
    card = Card(title="Original", model=name, model_config=config, dataset=data)
    return Checkpoint("original", card, model.eval().requires_grad_(False))


def stored(
    folder: Path, name: str = "simple_cnn", dataset: DatasetCard | None = None, seed: int = 0, **config: Any
) -> str:
    """Such a network as files; returns the name of its checkpoint. dataset: what it says it was trained on."""
    made = network(name, seed, **config)
    save_checkpoint(folder, made.model, dataclasses.replace(made.card, dataset=dataset or made.card.dataset))
    return str(folder)


def random_images(count: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, 32, 32, 3) uint8 and labels (N,) int64."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count)


@torch.no_grad()
def outputs(checkpoint: Checkpoint) -> Tensor:
    """Logits on inputs that are always the same."""
    generator = torch.Generator().manual_seed(1)
    if checkpoint.card.task == "images":
        return checkpoint.model(torch.randn(3, 3, 32, 32, generator=generator))
    return checkpoint.model(torch.randint(0, 20, (2, 9), generator=generator))[0]


def snapshot(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Every byte that a method must leave alone."""
    return {name: value.numpy().tobytes() for name, value in checkpoint.model.state_dict().items()} | {
        "card": checkpoint.card.to_json().encode()
    }


def reloaded(checkpoint: Checkpoint, folder: Any) -> Checkpoint:
    """The checkpoint as it comes back from its files: rebuilt from its card."""
    save_checkpoint(folder, checkpoint.model, checkpoint.card)
    return load_checkpoint(str(folder))
