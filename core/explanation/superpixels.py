"""Pictures cut into pieces: along their colours (SLIC), or into squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SEGMENTATIONS = ("slic", "grid")


def segments(inputs: Tensor, how: str, cells: int) -> Tensor:
    """Number of each pixel's piece, from 0 without gaps: (1, 1, H, W) int64.

    inputs: (1, 3, H, W); how: `slic` or `grid`; cells: about so many pieces (a grid has the nearest square number).
    Source of SLIC: Achanta et al., doi:10.1109/TPAMI.2012.120, through scikit-image.
    """
    import torch

    height, width = inputs.shape[-2:]
    if how == "grid":
        across = max(1, round(cells**0.5))
        rows, columns = (np.arange(side) * across // side for side in (height, width))
        found = rows[:, None] * across + columns[None]
    else:
        from skimage.segmentation import slic

        pixels = inputs[0].permute(1, 2, 0).detach().cpu().numpy().astype(np.float64)
        spread = float(np.ptp(pixels))
        pixels = (pixels - pixels.min()) / spread if spread > 0 else np.zeros_like(pixels)
        found = slic(pixels, n_segments=cells, compactness=10.0, start_label=0, enforce_connectivity=True)
    _, numbered = np.unique(found, return_inverse=True)
    return torch.from_numpy(numbered.reshape(1, 1, height, width).astype(np.int64)).to(inputs.device)
