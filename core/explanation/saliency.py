"""Which pixels the answer depends on most: the gradient of one logit, through Captum."""

from __future__ import annotations

import copy

import numpy as np
import torch

from core.checkpoints import Checkpoint
from core.errors import LabError
from core.inference import normalise


def saliency(checkpoint: Checkpoint, pixels: np.ndarray, target: int) -> np.ndarray:
    """Largest absolute gradient over the channels of each pixel, (H, W) float32 >= 0, of the logit of class `target`.

    pixels: (H, W, 3) uint8, of the model's input size. Works on a copy of the network; of an int8 checkpoint that is its
    float twin. Raises LabError for pixels of another size and a class that there is not. Source: Simonyan et al.,
    arXiv:1312.6034.
    """
    from captum.attr import Saliency

    data = checkpoint.card.image_data
    side = data.image_size
    if pixels.dtype != np.uint8 or pixels.shape != (side, side, 3):
        raise LabError(f"{checkpoint.card.title[:100]} takes one picture of {side}x{side} pixels: resize it first.")
    if not 0 <= target < len(data.classes):
        raise LabError(f"There is no class {target}: choose one from 0 to {len(data.classes) - 1}.")
    model = copy.deepcopy(checkpoint.model).cpu().eval()
    inputs = normalise(torch.from_numpy(pixels[None].copy()), checkpoint.card).requires_grad_()
    with torch.enable_grad():
        gradient = Saliency(model).attribute(inputs, target=target, abs=True)  # (1, 3, H, W)
    return np.ascontiguousarray(gradient.detach().amax(1)[0].numpy(), dtype=np.float32)
