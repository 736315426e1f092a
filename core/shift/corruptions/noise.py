"""Gaussian, shot, impulse and speckle noise. Sizes are shares of the full range, whatever the image's size."""

from __future__ import annotations

import numpy as np

from core.shift.corruptions.pixels import Draws, to_float, to_uint8


def gaussian_noise(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    sigma = (0.04, 0.06, 0.08, 0.09, 0.10)[level]
    return to_uint8(to_float(images) + sigma * draws.normal(*images.shape[1:]))


def shot_noise(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    photons = (500, 250, 100, 75, 50)[level]
    return to_uint8(draws.poisson(to_float(images) * photons) / photons)


def impulse_noise(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    """Values of single channels become 0 or 255, each with half of this probability."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[level]
    chance = draws.uniform(*images.shape[1:])
    salted = np.where(chance > 1 - share / 2, np.uint8(255), images)
    return np.where(chance < share / 2, np.uint8(0), salted)


def speckle_noise(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    sigma = (0.06, 0.10, 0.12, 0.16, 0.20)[level]
    values = to_float(images)
    return to_uint8(values + values * sigma * draws.normal(*images.shape[1:]))
