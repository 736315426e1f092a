"""An image that excites a unit, by gradient ascent. Source: Olah, Mordvintsev & Schubert, Feature Visualization, Distill 2017.

The image is a Fourier spectrum whose low frequencies move further, in colours that are decorrelated as in ImageNet; each step
sees it moved by some pixels, so that no pattern pays that needs an exact place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.common.progress import Progress, no_progress
from core.data.dataset import ImageCard
from core.features.units import Responses

RATE = 0.1
START_SD = 0.01
SOFTEN = 4.0
"""The sum of the waves is divided by this before the sigmoid, as in Lucid."""
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Square root of the covariance of ImageNet's colours, rows R, G, B (Lucid): its columns are light, blue-orange, green-purple."""
DIVERSITY = 1.0
SILENT = 1e-3
"""Up to this response of an activation, what comes before it is climbed."""
REPORT_EVERY = 8


def frequencies(side: int) -> Tensor:
    """(side, side // 2 + 1) distance from the constant, cycles per pixel."""
    return (torch.fft.fftfreq(side)[:, None] ** 2 + torch.fft.rfftfreq(side)[None] ** 2).sqrt()


def random_spectrum(side: int, seed: int) -> Tensor:
    """(3, side, side // 2 + 1, 2) where the optimisation starts: real and imaginary parts, all frequencies alike."""
    random = torch.Generator().manual_seed(seed)
    return START_SD * torch.randn((3, side, side // 2 + 1, 2), generator=random)


def waves(spectrum: Tensor, side: int) -> Tensor:
    """Spectra (K, 3, side, side // 2 + 1, 2) to (K, 3, side, side), whose amplitude falls as 1 / frequency."""
    scale = 1 / frequencies(side).clamp(min=1 / side)
    return torch.fft.irfft2(torch.view_as_complex(spectrum) * scale, s=(side, side), norm="ortho") / SOFTEN


def to_rgb(decorrelated: Tensor) -> Tensor:
    """(K, 3, H, W) of any size to RGB, 0..1."""
    colours = torch.tensor(COLOURS)
    colours = colours / colours.norm(dim=0).max()
    return torch.sigmoid(torch.einsum("rc,kchw->krhw", colours, decorrelated))


def optimise(
    network: Responses,
    data: ImageCard,
    channels: Sequence[int],
    seeds: Sequence[int],
    *,
    steps: int,
    diverse: bool = False,
    on_progress: Progress = no_progress,
) -> np.ndarray:
    """(K, H, W, 3) uint8: an image for each channel, from its seed. The images know nothing of each other, unless they are to be
    diverse: then each is paid for patterns that the others do not have."""
    side = data.image_size
    spectrum = torch.stack([random_spectrum(side, seed) for seed in seeds]).requires_grad_()
    moves = [torch.Generator().manual_seed(seed + 1) for seed in seeds]
    reach, chosen = max(1, side // 8), torch.tensor(list(channels))
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    optimizer = torch.optim.Adam([spectrum], lr=RATE)
    for step in range(steps):
        if step % REPORT_EVERY == 0:
            on_progress(step / steps, "optimising the image")
        rgb = to_rgb(waves(spectrum, side))
        shifts = [torch.randint(-reach, reach + 1, (2,), generator=random).tolist() for random in moves]
        moved = torch.stack([image.roll(shift, (1, 2)) for image, shift in zip(rgb, shifts, strict=True)])
        after, before = network.maps((moved - mean) / std)  # (K, C, P)
        rows = torch.arange(len(chosen))
        response, under = after[rows, chosen].mean(1), before[rows, chosen].mean(1)
        # Where a ReLU is silent everywhere it has no gradient, and a GELU just below 0 has one that leads away from the way
        # up: what the activation was given shows it.
        goal = torch.where(response <= SILENT, under, response)
        loss = -goal.sum()
        if diverse:
            loss = loss + DIVERSITY * goal.detach().abs().mean() * _likeness(after)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        rgb = to_rgb(waves(spectrum, side))
    return (255 * rgb).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _likeness(maps: Tensor) -> Tensor:
    """Sum over pairs of the cosine of their Gram matrices (K, C, C), which hold textures without places."""
    gram = F.normalize(torch.bmm(maps, maps.transpose(1, 2)).flatten(1), dim=1)
    return (gram @ gram.T).triu(1).sum()
