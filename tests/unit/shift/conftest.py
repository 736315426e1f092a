"""Two small networks whose dataset is in CIFAR-10's place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from core.checkpoints.store import Calibration, Card, save_checkpoint
from core.data import DATASETS
from core.data.dataset import ImageDataset
from core.inference.images import logits_of
from core.models import build_model
from core.shift.emoji import CLASSES
from tests.unit.builders import synthetic

NAMES = ("first", "second")


def small_data() -> ImageDataset:
    data = synthetic(train=60, held_out=60, classes=6)
    return dataclasses.replace(data, card=dataclasses.replace(data.card, name="cifar10", classes=tuple(CLASSES)))


def write_network(folder: Path, seed: int, data: ImageDataset) -> Card:
    """Untrained, but with an answer of each class; it warns of a tenth of the images."""
    torch.manual_seed(seed)
    config = {"classes": len(data.card.classes), "image_size": 32, "widths": (4, 4)}
    model = build_model("simple_cnn", config).eval().requires_grad_(False)
    card = Card(title=f"Network {seed}", model="simple_cnn", model_config=config, dataset=data.card)
    save_checkpoint(folder, model, card)
    from core.checkpoints.store import load_checkpoint

    logits = logits_of(load_checkpoint(str(folder)), data.test.images)
    model.head.bias -= logits.mean(0)
    model.head.bias[6:] -= 100  # the data have six classes
    model.head.weight *= 20
    energies = -torch.logsumexp((logits - logits.mean(0)) * 20, 1)
    calibration = Calibration(temperature=1.5, energy_threshold=float(energies.quantile(0.9)), images=100)
    return save_checkpoint(folder, model, dataclasses.replace(card, calibration=calibration))


@pytest.fixture
def networks(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Their names."""
    data = small_data()
    monkeypatch.setitem(
        DATASETS,
        "cifar10",
        dataclasses.replace(DATASETS["cifar10"], load=lambda _: data, is_ready=lambda: True),
    )
    for place, name in enumerate(NAMES):
        write_network(lab_home / "runs" / name / "best", place, data)
    return NAMES
