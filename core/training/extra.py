"""Training images of a second dataset, beside those of the run's own or instead of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.common.errors import LabError
from core.data import dataset_state, load_images, subset
from core.data.dataset import ImageCard, Split
from core.training.config import TrainConfig


def with_extra(config: TrainConfig, card: ImageCard, train: Split) -> tuple[Split, ImageCard | None]:
    """The images that a run trains on, and the card of the extra ones; None where there are none.

    card, train: of the run's own dataset. Raises LabError where the two do not go together, or hold too few images.
    """
    if not config.extra_dataset:
        return train, None
    extra_card, extra = _load(config.extra_dataset, dataset_state(config.extra_dataset))
    check_classes(extra_card, card)
    if config.extra_images > len(extra):
        raise LabError(
            f"extra_images={config.extra_images:,} is not valid: {extra_card.title} has {len(extra):,} training images."
        )
    if config.extra_images:
        extra = subset(extra, config.extra_images, config.seed)
    if config.extra_only:
        return extra, extra_card
    both = Split(
        images=np.concatenate([train.images, extra.images]), labels=np.concatenate([train.labels, extra.labels])
    )
    return both, extra_card


def check_classes(extra: ImageCard, card: ImageCard) -> None:
    """Raises LabError where images of one dataset cannot be added to those of the other."""
    if extra.classes != card.classes:
        raise LabError(
            f"{extra.title} and {card.title} have different classes: choose an extra dataset with the same classes."
        )
    if extra.image_size != card.image_size:
        raise LabError(
            f"{extra.title} has images of {extra.image_size} pixels and {card.title} of {card.image_size}: choose an extra "
            "dataset with the same image size."
        )


@lru_cache(maxsize=1)
def _load(name: str, state: str) -> tuple[ImageCard, Split]:
    """Kept for the next run of this process: one that trains a study trains many. state: read anew for another."""
    dataset = load_images(name)
    return dataset.card, dataset.train
