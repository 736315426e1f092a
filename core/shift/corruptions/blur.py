"""Defocus, glass, motion, zoom and Gaussian blur. Lengths are pixels of an image of 32 pixels."""

from __future__ import annotations

import math

import numpy as np

from core.shift.corruptions import pixels
from core.shift.corruptions.pixels import Draws, filter_2d, scale_of, to_float, to_uint8, zoom


def defocus_blur(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    radius, softness = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[level]
    scale = scale_of(images)
    return to_uint8(filter_2d(to_float(images), disk(radius * scale, softness * scale)))


def disk(radius: float, sigma: float) -> np.ndarray:
    """The kernel of a lens out of focus: the pixels within a radius, softened by a small Gaussian. Lengths are pixels."""
    reach = max(1, math.ceil(sigma)) if radius <= 8 else 2
    around = math.ceil(radius) + reach
    places = np.arange(-around, around + 1)
    inside = (places[:, None] ** 2 + places**2 <= radius**2).astype(float)
    soft = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    soft /= soft.sum()
    for axis in (0, 1):
        inside = np.apply_along_axis(np.convolve, axis, inside, soft, "same")
    return inside / inside.sum()


def glass_blur(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    """Pixels take a near one's value. The published script means to swap both, but its swap of two views only copies."""
    sigma, reach, times = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[level]
    scale = scale_of(images)
    sigma, reach = sigma * scale, round(reach * scale)
    shuffled = to_uint8(pixels.gaussian_blur(to_float(images), sigma))
    n, height, width = images.shape[:3]
    rows, columns = range(height - reach, reach, -1), range(width - reach, reach, -1)
    every = np.arange(n)
    for _ in range(times):
        moves = draws.integers(-reach, reach, 2, max(len(rows), 0), max(len(columns), 0))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                shuffled[:, row, column] = shuffled[every, row + moves[:, 0, i, j], column + moves[:, 1, i, j]]
    return to_uint8(pixels.gaussian_blur(to_float(shuffled), sigma))


def motion_blur(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[level]
    scale = scale_of(images)
    angles = 90 * draws.uniform() - 45
    return to_uint8(pixels.motion_blur(to_float(images), radius * scale, sigma * scale, angles))


def zoom_blur(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    """The mean of the image and of it enlarged more and more: a share of its size, so nothing to scale."""
    factors = np.arange(1, (1.06, 1.11, 1.16, 1.21, 1.26)[level], 0.01)
    values = to_float(images)
    total = values.copy()
    for factor in factors:
        total += zoom(values, float(factor))
    return to_uint8(total / (len(factors) + 1))


def gaussian_blur(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    sigma = (0.4, 0.6, 0.7, 0.8, 1.0)[level]
    return to_uint8(pixels.gaussian_blur(to_float(images), sigma * scale_of(images)))
