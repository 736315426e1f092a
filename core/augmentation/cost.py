"""How long a map takes, out of what changing and answering an image cost."""

from __future__ import annotations

from functools import partial

import numpy as np

from core.augmentation.config import MapConfig
from core.common.devices import cores
from core.data import dataset_sizes
from core.data.dataset import ImageCard
from core.inference.cost import processor_seconds, trial_images
from core.training.augmentation import TRANSFORMS, Step
from core.training.config import TrainConfig
from core.training.estimate import START_SECONDS

MIDDLE = 0.6
"""Strength at which a transform is tried."""


def change_seconds(card: ImageCard) -> float:
    """Processor seconds that a transform takes of an image of a dataset, measured; a mean over all of a map."""
    from core.training.preview import augmented_pixels

    images = trial_images(card.image_size)
    few = images[:1]
    total, weights = 0.0, 0
    for name, kind in TRANSFORMS.items():
        config = TrainConfig(augmentation=Step(transform=name, strength=MIDDLE).spec)

        def change(images: np.ndarray, config: TrainConfig = config) -> None:
            augmented_pixels(images, np.zeros(len(images), np.int64), card, config)

        change(few)
        few_s, all_s = (processor_seconds(partial(change, part)) for part in (few, images))
        weight = len(MapConfig().strengths) if kind.has_strength else 1
        # What a call costs beside the images says nothing of a map, which changes thousands in one.
        total += weight * max(0.0, all_s - few_s) / (len(images) - len(few))
        weights += weight
    return total / weights


def map_seconds(config: MapConfig, change_s: float, answer_s: float) -> float:
    """Seconds of a map. change_s, answer_s: processor seconds that changing and answering an image take.

    Images are changed by one thread, while the network answers those before with all cores. Raises LabError for a dataset that
    is gone.
    """
    sizes = dataset_sizes(config.dataset)
    images = min(config.images, sizes.get("test") or config.images)
    images += min(config.train_images, sizes.get("train") or config.train_images)
    return START_SECONDS + config.points * images * max(change_s, (change_s + answer_s) / cores())
