"""Pixels taken away: what the network says of an image that is covered in part, and which pixels a map covers first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.attribution.evidence.curves import ranks

if TYPE_CHECKING:
    from torch import Tensor

    from core.attribution.explainer import Explainer


def covered_inputs(
    explainer: Explainer, pixels: np.ndarray, masks: np.ndarray, *, baseline: str, seed: int = 0
) -> Tensor:
    """The network's inputs (N, 3, H, W): the baseline where a mask is set, the image elsewhere.

    pixels: (H, W, 3) uint8; masks: (N, H, W) bool. Raises LabError for an unknown baseline and an image of another size.
    """
    import torch

    inputs = explainer.inputs(pixels)
    base = explainer.baseline(baseline, pixels, seed)
    gone = torch.from_numpy(np.ascontiguousarray(masks, dtype=bool))[:, None].to(inputs.device)  # (N, 1, H, W)
    return torch.where(gone, base, inputs)


def covered_probabilities(
    explainer: Explainer, pixels: np.ndarray, masks: np.ndarray, *, baseline: str, seed: int = 0
) -> np.ndarray:
    """(N, classes) float32, calibrated, of the image under each of masks (N, H, W) bool. Raises LabError as above."""
    inputs = covered_inputs(explainer, pixels, masks, baseline=baseline, seed=seed)
    return explainer.probabilities(inputs).cpu().numpy()


def baseline_pixels(explainer: Explainer, pixels: np.ndarray, baseline: str, seed: int = 0) -> np.ndarray:
    """The baseline of an image (H, W, 3) uint8 in colours, as near as they come: (H, W, 3) uint8."""
    data = explainer.card.image_data
    base = explainer.baseline(baseline, pixels, seed)[0].permute(1, 2, 0).cpu().numpy()
    colours = 255 * (base * np.asarray(data.std, dtype=np.float32) + np.asarray(data.mean, dtype=np.float32))
    return colours.round().clip(0, 255).astype(np.uint8)


def most_important(values: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """(H, W) bool: that share of the pixels whose smoothed values (H, W) are the highest, as deletion takes them."""
    return ranks(values, seed) < round(share * values.size)
