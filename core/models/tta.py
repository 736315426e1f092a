"""Test-time augmentation: the same image seen several ways, logits averaged."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from core.common.errors import LabError
from core.models import TTA_LEVELS


def tta_logits(model: Callable[[Tensor], Tensor], images: Tensor, tta: str) -> Tensor:
    """Logits (N, classes) for normalised images (N, 3, H, W).

    tta: `none`; `flip` (the image and its mirror image); `flip+shift` (also both moved by one pixel up-left and
    down-right, the unmoved pair counting half). Raises LabError for any other. Source: arXiv:2404.00498, section 3.5.
    """
    if tta not in TTA_LEVELS:
        raise LabError(f"There is no test-time augmentation {tta[:40]!r}: choose one of {', '.join(TTA_LEVELS)}.")
    if tta == "none":
        return model(images)
    logits = _flipped(model, images)
    if tta == "flip":
        return logits
    height, width = images.shape[-2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    moved = [padded[..., top : top + height, top : top + width] for top in (0, 2)]
    return 0.5 * logits + 0.25 * (_flipped(model, moved[0]) + _flipped(model, moved[1]))


def _flipped(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return 0.5 * (model(images) + model(images.flip(-1)))
