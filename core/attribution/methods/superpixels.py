"""Images cut into pieces: along their colours (SLIC), or into squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.common.errors import LabError

if TYPE_CHECKING:
    from torch import Tensor

SEGMENTATIONS = ("slic", "grid")


def segments(inputs: Tensor, how: str, cells: int) -> Tensor:
    """Number of each pixel's piece, from 0 without gaps: (1, 1, H, W) int64.

    inputs: (1, 3, H, W); how: `slic` or `grid`; cells: about so many pieces (a grid has the nearest square number). Raises
    LabError for an image that stays in one piece. Source of SLIC: Achanta et al., doi:10.1109/TPAMI.2012.120, through
    scikit-image.
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
        # With one compactness for all pieces, a noisy image falls to crumbs, which are then merged into a single piece;
        # "zero" (SLICO) fits it to the contrast of each.
        found = slic(pixels, n_segments=cells, slic_zero=True, start_label=0, enforce_connectivity=True)
    names, numbered = np.unique(found, return_inverse=True)
    if len(names) < 2:
        raise LabError("This image could not be cut along its colours: set superpixels to grid, or ask for more cells.")
    return torch.from_numpy(numbered.reshape(1, 1, height, width).astype(np.int64)).to(inputs.device)
