"""Mixup and CutMix: each image of a batch is joined with another of the same batch, and so are their labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Box = tuple[int, int, int, int]
"""Top, bottom, left and right, in pixels; bottom and right are outside."""


def mixup_cutmix(images: Tensor, targets: Tensor, *, mixup: float, cutmix: float, seed: int) -> tuple[Tensor, Tensor]:
    """Mix a batch by one share and one permutation. images: (B, 3, H, W); targets: (B, classes), each row a distribution.

    mixup, cutmix: alpha of each Beta(alpha, alpha), 0 = off; where both are on, one of them is chosen with equal chance.
    Returns the same shapes; rows of the targets still sum to one.
    """
    random = np.random.default_rng(seed)
    partner = torch.from_numpy(random.permutation(len(images))).to(images.device)
    use_cutmix = cutmix > 0 and (mixup == 0 or random.random() < 0.5)
    alpha = cutmix if use_cutmix else mixup
    share = float(random.beta(alpha, alpha))
    if use_cutmix:
        height, width = images.shape[2:]
        centre = int(random.integers(height)), int(random.integers(width))
        return paste_box(images, targets, partner, box_of_share(share, centre, height, width))
    return blend(images, targets, partner, share)


def blend(images: Tensor, targets: Tensor, partner: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """share of each image and the rest of its partner's. partner: (B,) indices. Source: arXiv:1710.09412."""
    return torch.lerp(_taken(images, partner), images, share), torch.lerp(targets[partner], targets, share)


def paste_box(images: Tensor, targets: Tensor, partner: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Each image with its partner's pixels in a box, and labels by the exact share of pixels. Source: arXiv:1905.04899."""
    height, width = images.shape[2:]
    top, bottom, left, right = box
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))  # (H, W)
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return torch.where(inside, _taken(images, partner), images), torch.lerp(targets[partner], targets, share)


def _taken(images: Tensor, partner: Tensor) -> Tensor:
    """images[partner], but in channels_last memory order, which plain indexing would lose."""
    return images.permute(0, 2, 3, 1)[partner].permute(0, 3, 1, 2)


def box_of_share(share: float, centre: tuple[int, int], height: int, width: int) -> Box:
    """The box around `centre` (row, column) that leaves about `share` of the image, with the image's own proportions;
    what lies outside the image is cut off. Source: arXiv:1905.04899, equation 2."""
    half_height, half_width = (int(size * (1 - share) ** 0.5) // 2 for size in (height, width))
    row, column = centre
    return (
        max(row - half_height, 0),
        min(row + half_height, height),
        max(column - half_width, 0),
        min(column + half_width, width),
    )
