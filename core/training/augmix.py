"""AugMix and Gaussian noise on a batch, and the loss that makes the answers to three views of an image alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH, LONGEST = 3, 3
"""Chains of operations that are mixed, and operations of a chain at most."""
STRONGEST = 10
"""Severity at which an operation is at its strongest."""
VIEWS = 3
"""Of an image in the loss: as it is, and two that were augmented."""
NOISY = 0.5
"""Share of the images that get noise."""


def augmix(pixels: Tensor, seed: int, severity: int) -> Tensor:
    """Each image mixed with three chains of random operations on it. pixels: (B, H, W, 3) uint8, returns the same.

    The same seed gives the same images. No operation is one of the corruptions that robustness is measured with: no noise,
    blur, brightness, contrast or saturation. Source: Hendrycks et al., arXiv:1912.02781, algorithm 1, with alpha = 1.
    """
    random = np.random.default_rng(seed)
    chains = WIDTH * len(pixels)
    own = random.beta(1, 1, len(pixels))
    shares = (1 - own)[:, None] * random.dirichlet([1] * WIDTH, len(pixels))  # (B, WIDTH)
    lengths = random.integers(1, LONGEST + 1, chains)
    images = pixels.permute(0, 3, 1, 2).repeat(WIDTH, 1, 1, 1)  # (WIDTH x B, 3, H, W): chain after chain
    for step in range(LONGEST):
        chosen = random.integers(len(OPERATIONS), size=chains)
        strengths = random.uniform(0.1, severity, chains) / STRONGEST  # 0..1
        strengths *= np.where(random.random(chains) < 0.5, 1, -1)
        for number, operate in enumerate(OPERATIONS):
            places = np.flatnonzero((lengths > step) & (chosen == number))
            if len(places):
                where = torch.from_numpy(places).to(pixels.device)
                images[where] = operate(images[where], torch.from_numpy(strengths[places]).float().to(pixels.device))
    weights = torch.from_numpy(shares.T.reshape(-1, 1, 1, 1)).float().to(pixels.device)
    mixed = (weights * images).unflatten(0, (WIDTH, len(pixels))).sum(0)  # (B, 3, H, W)
    mixed += torch.from_numpy(own).float().to(pixels.device).view(-1, 1, 1, 1) * pixels.permute(0, 3, 1, 2)
    return mixed.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _by_table(images: Tensor, table: Tensor) -> Tensor:
    """images: (N, 3, H, W) uint8; table: (N, 3 or 1, 256), the new value of each value."""
    n, colours, height, width = images.shape
    table = table.clamp(0, 255).to(torch.uint8).expand(n, colours, 256)
    return table.gather(2, images.flatten(2).long()).view(n, colours, height, width)


def autocontrast(images: Tensor, strengths: Tensor) -> Tensor:
    """Each colour from its least to its largest value stretched to 0..255. images: (N, 3, H, W) uint8, as in all of these;
    strengths: (N,) -1..1."""
    low, high = (edge.float()[..., None] for edge in torch.aminmax(images.flatten(2), dim=2))
    values = torch.arange(256, device=images.device).float()
    stretched = ((values - low) * (255 / (high - low).clamp(min=1)) + 1e-3).floor()
    return _by_table(images, torch.where(high > low, stretched, values))


def equalize(images: Tensor, strengths: Tensor) -> Tensor:
    """Each colour with a flat histogram, in whole numbers as Pillow's."""
    flat = images.flatten(2).long()
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    step = (flat.shape[2] - counts.gather(2, flat.amax(2, keepdim=True))) // 255
    before = counts.cumsum(2) - counts
    table = (step // 2 + before) // step.clamp(min=1)
    return _by_table(images, torch.where(step > 0, table, torch.arange(256, device=images.device)))


def posterize(images: Tensor, strengths: Tensor) -> Tensor:
    """The 4 highest bits or fewer."""
    dropped = 4 + (4 * strengths.abs()).long()
    mask = (255 << dropped) & 255
    return images & mask.to(torch.uint8).view(-1, 1, 1, 1)


def solarize(images: Tensor, strengths: Tensor) -> Tensor:
    """Values from a threshold on inverted."""
    threshold = 256 - (256 * strengths.abs()).long().view(-1, 1, 1, 1)
    return torch.where(images < threshold, images, 255 - images)


def rotate(images: Tensor, strengths: Tensor) -> Tensor:
    """By up to 30 degrees around the middle; black where nothing was, as in all that move."""
    angles = torch.deg2rad((30 * strengths).trunc())
    cos, sin = angles.cos(), angles.sin()
    height, width = images.shape[2:]
    x, y = width / 2, height / 2
    return _move(images, cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


def _move(images: Tensor, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Tensor:
    """Pixel (x, y) from (a x + b y + c, d x + e y + f), linearly; each a number, or (N,)."""
    n, height, width = len(images), *images.shape[2:]
    a, b, c, d, e, f = (torch.as_tensor(each, device=images.device).float().expand(n) for each in (a, b, c, d, e, f))
    b, d = b * height / width, d * width / height  # in coordinates from -1 to 1
    rows = torch.stack([a, b, a + b + 2 * c / width - 1, d, e, d + e + 2 * f / height - 1], 1).view(n, 2, 3)
    grid = F.affine_grid(rows, [n, 1, height, width], align_corners=False)
    return (F.grid_sample(images.float(), grid, align_corners=False) + 1e-3).to(torch.uint8)  # cut off, as Pillow does


def shear_x(images: Tensor, strengths: Tensor) -> Tensor:
    return _move(images, 1, 0.3 * strengths, 0, 0, 1, 0)


def shear_y(images: Tensor, strengths: Tensor) -> Tensor:
    return _move(images, 1, 0, 0, 0.3 * strengths, 1, 0)


def translate_x(images: Tensor, strengths: Tensor) -> Tensor:
    return _move(images, 1, 0, (images.shape[3] / 3 * strengths).trunc(), 0, 1, 0)


def translate_y(images: Tensor, strengths: Tensor) -> Tensor:
    return _move(images, 1, 0, 0, 0, 1, (images.shape[2] / 3 * strengths).trunc())


OPERATIONS = (
    *(autocontrast, equalize, posterize, rotate, solarize),
    *(shear_x, shear_y, translate_x, translate_y),
)
"""In the paper's code, with its strengths."""


def add_noise(pixels: Tensor, sigma: float, seed: int) -> Tensor:
    """Gaussian noise on half of the images, drawn by the seed. pixels: (B, H, W, 3), 0..255; sigma: as a share of 255.

    Returns floats, within 0..255. Source: Rusak et al., arXiv:2001.06057, section 3, with half of the images clean.
    """
    random = torch.Generator().manual_seed(seed)
    chosen = torch.rand(len(pixels), 1, 1, 1, generator=random) < NOISY
    noise = torch.randn(pixels.shape, generator=random) * (255 * sigma) * chosen
    return (pixels + noise.to(pixels.device)).clamp(0, 255)


def js_divergence(logits: Tensor) -> Tensor:
    """Jensen-Shannon divergence between answers, the mean over images, nats. logits: (B, views, classes).

    Source: arXiv:1912.02781, equation 1.
    """
    probabilities = torch.softmax(logits, dim=2)
    middle = probabilities.mean(1, keepdim=True).clamp(1e-7, 1).log()
    each: dict[str, Any] = {"reduction": "sum"}
    return F.kl_div(middle.expand_as(probabilities), probabilities, **each) / (len(logits) * logits.shape[1])
