"""A generator that has learned nothing, and small images in CIFAR-10's place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.checkpoints.store import load_checkpoint, save_checkpoint
from core.data import DATASETS
from core.data.dataset import ImageDataset
from core.training.config import TrainConfig
from core.training.session import TrainSession
from tests.unit.builders import synthetic


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> ImageDataset:
    """Small images in CIFAR-10's place, with its classes, which the judge knows."""
    small = synthetic(train=120, held_out=420, classes=6)
    classes = load_checkpoint("fast_resnet").card.image_data.classes
    card = dataclasses.replace(small.card, name="cifar10", classes=classes)
    small = dataclasses.replace(small, card=card)
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: small, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    return small


@pytest.fixture
def parent(lab_home: Path, data: ImageDataset) -> str:
    """A generator on disk that has learned nothing: its images are noise."""
    config = TrainConfig(model="flow_unet", model_config={"width": 16}, epochs=1, precision="float32")
    session = TrainSession.start(config, data)
    save_checkpoint(lab_home / "runs" / "parent" / "best", session.eval_model(), session.card("Untrained"))
    return "parent"
