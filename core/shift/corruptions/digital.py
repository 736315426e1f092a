"""Contrast, elastic transform, pixelate, JPEG and saturate. Only the elastic one has lengths, as shares of the side."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from core.shift.corruptions.pixels import Draws, gaussian_blur, to_float, to_uint8


def contrast(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    kept = (0.75, 0.50, 0.40, 0.30, 0.15)[level]
    values = to_float(images)
    means = values.mean(axis=(1, 2), keepdims=True)
    return to_uint8((values - means) * np.float32(kept) + means)


def elastic_transform(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    """A small affine map of the image, then a smooth random shift of every pixel."""
    shift, sigma, corner = (
        (0, 0, 0.08),
        (0.05, 0.20, 0.07),
        (0.08, 0.06, 0.06),
        (0.10, 0.04, 0.05),
        (0.10, 0.03, 0.03),
    )[level]
    n, height, width = images.shape[:3]
    side = min(height, width)
    moved = sample(
        to_float(images), *affine_places(side * corner * (2 * draws.uniform(3, 2) - 1), height, width), False
    )
    noise = 2 * draws.uniform(2, height, width) - 1
    if not shift:
        return to_uint8(moved)
    smooth = gaussian_blur(noise.reshape(2 * n, height, width), side * sigma, "reflect", 3.0)
    down, right = np.moveaxis(side * shift * smooth.reshape(n, 2, height, width), 1, 0)
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    return to_uint8(sample(moved, rows + down, columns + right, True))


def affine_places(moves: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, (N, H, W) each, that the pixels of a mapped image come from. moves: (N, 3, 2), of three corners of a
    square in its middle, x and y in pixels."""
    x, y, reach = width // 2, height // 2, min(height, width) // 3
    before = np.array([[x + reach, y + reach], [x + reach, y - reach], [x - reach, y - reach]], float)
    after = np.concatenate([before + moves, np.ones((*moves.shape[:2], 1))], axis=2)
    back = np.linalg.solve(after, np.broadcast_to(before, moves.shape))  # (N, 3, 2): from [x, y, 1] of the new place
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    places = np.stack([columns, rows, np.ones_like(rows)], axis=-1).astype(float)
    found = np.einsum("hwk,nkd->dnhw", places, back).astype(np.float32)
    return found[1], found[0]


def sample(images: np.ndarray, rows: np.ndarray, columns: np.ndarray, half: bool) -> np.ndarray:
    """Values (N, H, W, C) between pixels, linearly. rows, columns: (N, H, W). half: whether borders are mirrored at the edge of
    the last pixel, or at its middle."""
    height, width = images.shape[1:3]
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    low, right = (rows - top)[..., None], (columns - left)[..., None]
    every = np.arange(len(images))[:, None, None]
    tops, bottoms = (_mirror(top + step, height, half) for step in (0, 1))
    lefts, rights = (_mirror(left + step, width, half) for step in (0, 1))
    above = images[every, tops, lefts] * (1 - right) + images[every, tops, rights] * right
    below = images[every, bottoms, lefts] * (1 - right) + images[every, bottoms, rights] * right
    return np.asarray(above * (1 - low) + below * low)


def _mirror(places: np.ndarray, side: int, half: bool) -> np.ndarray:
    period = 2 * side if half else max(2 * (side - 1), 1)
    wrapped = places % period
    return np.minimum(wrapped, period - 1 - wrapped if half else period - wrapped) % side


def pixelate(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    share = (0.95, 0.90, 0.85, 0.75, 0.65)[level]
    height, width = images.shape[1:3]
    small = max(1, int(width * share)), max(1, int(height * share))
    box = Image.Resampling.BOX
    return np.stack(
        [np.asarray(Image.fromarray(image).resize(small, box).resize((width, height), box)) for image in images]
    )


def jpeg_compression(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    quality = (80, 65, 58, 50, 40)[level]
    found = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as opened:
            found.append(np.asarray(opened.convert("RGB")))
    return np.stack(found)


def saturate(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    """Changes the saturation of hue, saturation and value. A grey pixel has no hue, and takes that of red, as in scikit-image."""
    factor, added = ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))[level]
    values = to_float(images)
    value = values.max(axis=3, keepdims=True)
    spread = value - values.min(axis=3, keepdims=True)
    saturation = spread / np.maximum(value, 1e-6)
    new = np.clip(saturation * factor + added, 0, 1)
    # How far each colour lies below the largest one, in units of what it can.
    below = np.where(spread > 0, (value - values) / np.maximum(spread, 1e-6), np.array([0, 1, 1], np.float32))
    return to_uint8(value * (1 - below * new))
