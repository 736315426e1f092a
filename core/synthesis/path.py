"""One image on its way from noise, and the images between two noises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.checkpoints.store import Checkpoint
from core.inference.generator import arithmetic, draw_noise, follow, to_pixels

FRAMES = 8
"""Of a path, and of an interpolation."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Path:
    frames: np.ndarray
    """(FRAMES or fewer, S, S, 3) uint8, from noise to image."""
    times: tuple[float, ...]
    """0..1 of each."""
    between: np.ndarray
    """(FRAMES, S, S, 3) uint8: images of the noises between this one and another."""


def trace_path(
    checkpoint: Checkpoint, label: int, number: int, other: int, *, seed: int, steps: int, guidance: float
) -> Path:
    """Follow noise `number` of a seed to its image of a class, and what lies between it and noise `other`.

    label: the class, by its number. Raises LabError for settings out of range.
    """
    card = checkpoint.card.pixel_data
    first, last = (draw_noise(1, card.image_size, seed, place) for place in (number, other))
    noises = torch.cat([slerp(first, last, share) for share in np.linspace(0, 1, FRAMES)])
    classes = np.full(FRAMES, label)
    points = list(follow(checkpoint.model, noises, classes, steps=steps, guidance=guidance, amp=arithmetic()))
    chosen = sorted({round(at) for at in np.linspace(0, steps, min(FRAMES, steps + 1))})
    frames = torch.cat([points[at][:1] for at in chosen])
    return Path(
        frames=to_pixels(frames, card),
        times=tuple(at / steps for at in chosen),
        between=to_pixels(points[-1], card),
    )


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Between two noises (1, …) along the arc, which keeps the length that noise has (Shoemake 1985). share: 0..1."""
    a, b = first.flatten(), second.flatten()
    angle = torch.arccos(torch.dot(a, b).div(a.norm() * b.norm()).clamp(-1, 1))
    if angle < 1e-4:
        return torch.lerp(first, second, share)
    return (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * second) / torch.sin(angle)
