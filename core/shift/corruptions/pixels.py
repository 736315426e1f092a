"""What the corruptions share: draws of each image's own, linear maps of rows and columns, and the way back to 8 bits."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import ndimage

SIDE = 32
"""Of the images that the published constants are for."""
ALIKE = 1e-3
"""Added before the fraction is cut off, so that a pixel that nothing changed keeps its value."""


class Draws:
    """Random numbers of N images, from the seed, the corruption and the image's own number: no batch changes them, and all
    severities of a corruption begin with the same ones."""

    def __init__(self, seed: int, name: str, numbers: Sequence[int]) -> None:
        key = zlib.crc32(name.encode())
        self.generators = [np.random.default_rng((seed, key, int(number))) for number in numbers]

    def normal(self, *shape: int) -> np.ndarray:
        """(N, *shape) float32, mean 0 and variance 1."""
        return np.stack([each.standard_normal(shape, dtype=np.float32) for each in self.generators])

    def uniform(self, *shape: int) -> np.ndarray:
        """(N, *shape) float32 in 0..1."""
        return np.stack([each.random(shape, dtype=np.float32) for each in self.generators])

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """(N, *shape) from `low` to `high` - 1."""
        return np.stack([each.integers(low, high, shape) for each in self.generators])

    def poisson(self, means: np.ndarray) -> np.ndarray:
        """Of the shape of `means`, whose first axis is the images."""
        return np.stack([each.poisson(mean) for each, mean in zip(self.generators, means, strict=True)])


def to_float(images: np.ndarray) -> np.ndarray:
    """uint8 to float32 in 0..1."""
    return images.astype(np.float32) / np.float32(255)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """0..1 to uint8; the fraction is cut off, as in the published files."""
    return (np.clip(images, 0, 1) * 255 + ALIKE).astype(np.uint8)


def scale_of(images: np.ndarray) -> float:
    """What lengths in pixels are multiplied by: at least 1, because no kernel is narrower than a pixel."""
    return max(1.0, min(images.shape[1:3]) / SIDE)


def base_sides(images: np.ndarray) -> tuple[int, int]:
    """Height and width of a layer that is drawn as if the images were of 32 pixels, and enlarged afterwards."""
    scale = scale_of(images)
    return math.ceil(images.shape[1] / scale), math.ceil(images.shape[2] / scale)


def along_axes(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Linear maps of the columns' and the rows' values. images: (N, H, W) or (N, H, W, C); rows: (H', H); columns: (W', W)."""
    flat = images if images.ndim == 4 else images[..., None]
    n, height, width, channels = flat.shape
    down = np.matmul(rows.astype(np.float32), flat.reshape(n, height, width * channels))
    across = np.matmul(columns.astype(np.float32), down.reshape(n * len(rows), width, channels))
    shape = (n, len(rows), len(columns))
    return across.reshape(*shape, channels) if images.ndim == 4 else across.reshape(shape)


@lru_cache(maxsize=256)
def gaussian_matrix(side: int, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> np.ndarray:
    """(side, side): the Gaussian filter of SciPy along one axis. sigma: pixels."""
    return np.asarray(ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, mode=mode, truncate=truncate))


def gaussian_blur(images: np.ndarray, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> np.ndarray:
    """Of (N, H, W) or (N, H, W, C), floats. sigma: pixels."""
    rows, columns = (gaussian_matrix(side, sigma, mode, truncate) for side in images.shape[1:3])
    return along_axes(images, rows, columns)


@lru_cache(maxsize=512)
def zoom_matrix(side: int, factor: float) -> np.ndarray:
    """(side, side): enlarge the middle of an axis by linear interpolation, and cut it to its old length."""
    kept = math.ceil(side / factor)
    start = (side - kept) // 2
    enlarged = np.asarray(ndimage.zoom(np.eye(side)[start : start + kept], (factor, 1), order=1, mode="nearest"))
    cut = (len(enlarged) - side) // 2
    return enlarged[cut : cut + side]


def zoom(images: np.ndarray, factor: float) -> np.ndarray:
    """The middle of (N, H, W) or (N, H, W, C), enlarged to all of it."""
    return along_axes(images, zoom_matrix(images.shape[1], factor), zoom_matrix(images.shape[2], factor))


@lru_cache(maxsize=64)
def _enlarging(before: int, after: int) -> np.ndarray:
    if before == after:
        return np.eye(before)
    return np.asarray(ndimage.zoom(np.eye(before), (after / before, 1), order=1, mode="nearest", grid_mode=True))


def enlarge(layer: np.ndarray, height: int, width: int) -> np.ndarray:
    """A layer (N, h, w) or (N, h, w, C) at the size of the images, by linear interpolation."""
    return along_axes(layer, _enlarging(layer.shape[1], height), _enlarging(layer.shape[2], width))


def filter_2d(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlation of (N, H, W) or (N, H, W, C) with a kernel of odd sides; borders are mirrored without the last pixel."""
    around = [side // 2 for side in kernel.shape]
    margins = [(0, 0), (around[0],) * 2, (around[1],) * 2, (0, 0)][: images.ndim]
    padded = np.pad(images, margins, mode="reflect")
    found = np.zeros_like(images)
    for (row, column), weight in np.ndenumerate(kernel):
        if weight:
            found += np.float32(weight) * padded[:, row : row + images.shape[1], column : column + images.shape[2]]
    return found


def motion_blur(images: np.ndarray, radius: float, sigma: float, angles: np.ndarray) -> np.ndarray:
    """A one-sided Gaussian trail, each image's in its own direction. images: (N, H, W, C) floats; angles: (N,) degrees.

    The kernel of ImageMagick's MotionBlurImage: 2·⌈radius⌉ + 1 taps at whole pixels; borders are repeated.
    """
    taps = 2 * math.ceil(radius) + 1
    weights = np.exp(-(np.arange(taps) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    radians = np.deg2rad(angles)
    across = np.ceil(np.arange(taps) * np.cos(radians)[:, None] - 0.5).astype(int)  # (N, taps)
    down = np.ceil(np.arange(taps) * np.sin(radians)[:, None] - 0.5).astype(int)
    height, width = images.shape[1:3]
    padded = np.pad(images, [(0, 0), (taps, taps), (taps, taps), (0, 0)], mode="edge")
    found = np.zeros_like(images)
    for place, image in enumerate(padded):
        for tap, weight in enumerate(weights):
            top, left = taps + down[place, tap], taps + across[place, tap]
            found[place] += np.float32(weight) * image[top : top + height, left : left + width]
    return found


def grey_of(images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) to (N, H, W), by the weights of Rec. 601."""
    return np.asarray(images @ np.array([0.299, 0.587, 0.114], np.float32))
