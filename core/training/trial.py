"""How fast a generator trains here, measured on one step: before its first run, that is better than a guess from its size."""

from __future__ import annotations

import numpy as np

from core.common.devices import cores
from core.data.dataset import ImageCard, ImageDataset, Split
from core.inference.cost import processor_seconds, trial_images
from core.training.config import TrainConfig
from core.training.session import TrainSession
from core.training.trainer import train_step

TRIAL = 32
"""Images of the step."""


def trial_speed(config: TrainConfig, card: ImageCard) -> float:
    """Training images per second with all cores, of a new network on the processor. Raises LabError as a training does.

    card: of the dataset. Random numbers of the process stay as they are.
    """
    import torch

    images = trial_images(card.image_size, TRIAL)
    split = Split(images=images, labels=np.arange(TRIAL, dtype=np.int64) % len(card.classes))
    with torch.random.fork_rng(devices=[]):
        session = TrainSession.start(
            config.replace(
                init_from="", train_on="train", train_images=0, extra_dataset="", batch_size=TRIAL, epochs=100
            ),
            ImageDataset(card=card, train=split, validation=split, test=split),
            "cpu",
        )
        inputs, targets = next(session.batches())

        def step() -> None:
            train_step(session, inputs, targets)

        step()
        return cores() * TRIAL / processor_seconds(step)
