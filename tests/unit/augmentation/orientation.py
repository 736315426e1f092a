"""A toy in which a vertical flip swaps the classes: images that are bright above, or below."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np

from core.checkpoints.store import Card, Checkpoint
from core.data.dataset import ImageDataset, Split
from core.training.config import TrainConfig
from core.training.session import TrainSession
from core.training.trainer import train
from tests.unit.builders import synthetic

CLASSES = ("bright above", "bright below")
MODEL = {"widths": [8, 8]}


@lru_cache(maxsize=1)
def oriented() -> ImageDataset:
    data = synthetic(train=4, held_out=4, classes=2)
    random = np.random.default_rng(0)

    def split(n: int) -> Split:
        labels = np.arange(n) % 2
        rows = np.linspace(170, 60, 32)[:, None, None]
        light = np.where(labels[:, None, None, None] == 0, rows, rows[::-1])
        images = np.clip(light + random.normal(0, 25, (n, 32, 32, 3)), 0, 255)
        return Split(images=images.astype(np.uint8), labels=labels.astype(np.int64))

    card = dataclasses.replace(data.card, name="cifar10", title="Orientation", classes=CLASSES)
    return dataclasses.replace(data, card=card, train=split(160), validation=split(40), test=split(120))


@lru_cache(maxsize=1)
def toy() -> Checkpoint:
    """A small network that knows the two classes."""
    config = TrainConfig(model_config=MODEL, epochs=4, batch_size=20, lr=3e-3, seed=1)
    session = TrainSession.start(config, oriented(), "cpu")
    list(train(session))
    model = session.model.eval().requires_grad_(False)
    card = Card(title="Toy", model="simple_cnn", model_config=dict(session.task.model_config), dataset=oriented().card)
    return Checkpoint("toy", card, model)
