"""TrivialAugment, torchvision's own, on a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.training.augmentation import drawing


def trivial_augment(pixels: Tensor, seed: int) -> Tensor:
    """Each image changed at random. pixels: (B, H, W, 3) uint8, returns the same.

    The same seed gives the same images, and torch's global generator is left as it was. On the CPU and through PIL, which
    is faster here than tensors. Source: Müller & Hutter, arXiv:2103.10158, with torchvision's defaults.
    """
    from PIL import Image
    from torchvision.transforms import v2

    transform = v2.TrivialAugmentWide()
    with drawing(seed):
        changed = [np.asarray(transform(Image.fromarray(image))) for image in pixels.cpu().numpy()]
    return torch.from_numpy(np.stack(changed)).to(pixels.device)
