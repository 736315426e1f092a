"""What the trainer would show a network, as images for people."""

from __future__ import annotations

import numpy as np
import torch

from core.common.errors import LabError
from core.data.dataset import ImageCard, Split
from core.training.batches import DeviceImages, derive_seed, epoch_batches, epoch_order
from core.training.config import TrainConfig


def augmented_pixels(
    images: np.ndarray, labels: np.ndarray, card: ImageCard, config: TrainConfig, epoch: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Images as the trainer would feed them in an epoch, as one batch and in the order given.

    images: (N, H, W, 3) uint8; labels: (N,) int64. Returns (N, H, W, 3) uint8, de-normalised, and the targets: (N,), or
    (N, classes) with mixup or cutmix. Raises LabError for no images, or another number of labels.
    """
    if not len(images) or len(images) != len(labels):
        raise LabError(f"{len(images)} images with {len(labels)} labels cannot be shown: give each image one label.")
    data = DeviceImages(Split(images=images, labels=labels), card, "cpu")
    config = config.replace(balance="none", consistency=0.0)  # so that each image comes once, in one view
    inputs, targets = next(epoch_batches(data, config, epoch, len(data)))
    place = torch.argsort(epoch_order(len(data), torch.Generator().manual_seed(derive_seed(config.seed, epoch))))
    raw = (inputs.permute(0, 2, 3, 1) * torch.tensor(card.std) + torch.tensor(card.mean)) * 255
    return raw[place].round().clamp(0, 255).to(torch.uint8).numpy(), targets[place].numpy()
