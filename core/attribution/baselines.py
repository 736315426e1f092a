"""An image with nothing in it, in four ways: what methods compare with, and what covers a pixel that is taken away."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from core.common.errors import LabError

if TYPE_CHECKING:
    from torch import Tensor

    from core.checkpoints.store import Card

BASELINES = {
    "black": "black",
    "mean": "the mean colour of the training images",
    "blur": "the image itself, blurred",
    "noise": "random colours",
}
DEFAULT_BASELINE = "mean"
"""Zero for the network, which is also what Captum takes where nothing is said."""
BLUR = 4.0
"""Standard deviation of the blur, pixels of an image 32 wide; in proportion for others."""


def check_baseline(name: str) -> None:
    """Raises LabError for an unknown one."""
    if name not in BASELINES:
        raise LabError(f"There is no baseline {str(name)[:60]!r}: choose one of {', '.join(BASELINES)}.")


def baseline_of(name: str, inputs: Tensor, card: Card, seed: int = 0) -> Tensor:
    """(1, 3, H, W), normalised. inputs: (1, 3, H, W), normalised. seed: of `noise`. Raises LabError for an unknown name."""
    import torch

    check_baseline(name)
    data = card.image_data
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (data.mean, data.std))
    if name == "black":
        return (-mean / std).expand(inputs.shape).to(inputs).contiguous()
    if name == "mean":
        return torch.zeros_like(inputs)
    if name == "blur":
        return _blurred(inputs)
    generator = torch.Generator().manual_seed(zlib.crc32(f"noise {seed}".encode()))
    return ((torch.rand(inputs.shape, generator=generator) - mean) / std).to(inputs)


def same_image(base: Tensor, inputs: Tensor) -> bool:
    """Whether a baseline is the image itself, but for rounding: then there is nothing to compare, or to take away."""
    import torch

    return torch.allclose(base, inputs, atol=1e-4)


def _blurred(inputs: Tensor) -> Tensor:
    import numpy as np
    import torch
    from scipy.ndimage import gaussian_filter

    sigma = BLUR * inputs.shape[-1] / 32
    pixels = inputs.detach().cpu().numpy()
    return torch.from_numpy(np.ascontiguousarray(gaussian_filter(pixels, (0, 0, sigma, sigma), mode="reflect"))).to(
        inputs
    )
