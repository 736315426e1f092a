"""Snow, frost, fog, brightness and spatter. Layers are drawn as for 32 pixels, and enlarged with the image."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from core.shift.corruptions.pixels import (
    ALIKE,
    Draws,
    base_sides,
    enlarge,
    filter_2d,
    gaussian_blur,
    grey_of,
    motion_blur,
    to_float,
    to_uint8,
    zoom,
)

FROST_SIDE, FROST_SEED, FROST_FALL = 160, 1903, 2.1
"""Side of a texture in pixels; its seed; how the power of its spectrum falls with frequency (the photographs': 2.0 to 2.6)."""
FROST_COLOURS = (
    ((78, 149, 166), 17),
    ((201, 205, 214), 18),
    ((201, 205, 214), 18),
    ((138, 153, 165), 22),
    ((112, 123, 135), 35),
)
"""Mean red, green and blue and the spread, each 0..255, of the five photographs that the published script draws from."""
TURQUOISE, MUD = (175, 238, 238), (63, 42, 20)


def snow(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    mean, spread, size, least, radius, sigma, kept = (
        (0.10, 0.2, 1.00, 0.60, 8, 3, 0.95),
        (0.10, 0.2, 1.00, 0.50, 10, 4, 0.90),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.90),
        (0.25, 0.3, 2.25, 0.60, 12, 6, 0.85),
        (0.30, 0.3, 1.25, 0.65, 14, 12, 0.80),
    )[level]
    layer = zoom(mean + spread * draws.normal(*base_sides(images)), size)
    flakes = to_uint8(np.where(layer < least, 0, layer))
    angles = 90 * draws.uniform() - 135
    trails = motion_blur(to_float(flakes)[..., None], radius, sigma, angles)
    trails = enlarge(trails, *images.shape[1:3])
    values = to_float(images)
    pale = np.maximum(values, grey_of(values)[..., None] * 1.5 + 0.5)
    return to_uint8(kept * values + (1 - kept) * pale + trails + np.flip(trails, (1, 2)))


def frost(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    """The published script lays crops of photographs of frost over the image; these are computed, with their colours."""
    kept, strength = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[level]
    height, width = base_sides(images)
    tiles = -(-max(height, width) // FROST_SIDE) + 1
    textures = np.tile(frost_textures(), (1, tiles, tiles, 1))
    chosen = draws.integers(0, len(FROST_COLOURS))
    top, left = draws.integers(0, FROST_SIDE), draws.integers(0, FROST_SIDE)
    crops = np.stack(
        [
            textures[which, row : row + height, column : column + width]
            for which, row, column in zip(chosen, top, left, strict=True)
        ]
    )
    return to_uint8(kept * to_float(images) + strength * enlarge(crops, *images.shape[1:3]))


@lru_cache(maxsize=1)
def frost_textures() -> np.ndarray:
    """(5, S, S, 3) float32 in 0..1, without a seam: ridges of noise whose spectrum falls as that of photographs of frost."""
    random = np.random.default_rng(FROST_SEED)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(FROST_SIDE)] * 2, indexing="ij"))
    frequency[0, 0] = np.inf
    found = []
    for colour, spread in FROST_COLOURS:
        noise = np.fft.fft2(random.standard_normal((FROST_SIDE, FROST_SIDE)))
        field = np.fft.ifft2(noise * frequency ** (-FROST_FALL / 2)).real
        ridges = -np.abs(field) / field.std() + 0.3 * field / field.std()
        ridges = (ridges - ridges.mean()) / ridges.std()
        found.append(np.clip(np.array(colour) + spread * ridges[..., None], 0, 255) / 255)
    return np.stack(found).astype(np.float32)


def fog(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    strength, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[level]
    height, width = base_sides(images)
    side = 1 << (max(height, width) - 1).bit_length()
    layer = enlarge(plasma(side, decay, draws)[:, :height, :width], *images.shape[1:3])
    values = to_float(images)
    most = values.max(axis=(1, 2, 3), keepdims=True)
    return to_uint8((values + strength * layer[..., None]) * most / (most + strength))


def plasma(side: int, decay: float, draws: Draws) -> np.ndarray:
    """(N, side, side) in 0..1: clouds by the diamond-square algorithm, wrapped around. side: a power of two.

    decay: the published script multiplies a draw from ±w by w, and divides w by the decay from one scale to the next.
    """
    found = np.zeros((len(draws.generators), side, side), np.float32)
    step, size = side, np.float32(1.0)  # only ratios matter: the result is stretched to 0..1
    while step >= 2:
        half, cells = step // 2, side // step

        def mean_and_noise(total: np.ndarray, cells: int = cells, size: np.float32 = size) -> np.ndarray:
            return total / 4 + size * (2 * draws.uniform(cells, cells) - 1)

        corners = found[:, ::step, ::step]
        down = corners + np.roll(corners, -1, 1)
        found[:, half::step, half::step] = mean_and_noise(down + np.roll(down, -1, 2))
        middles = found[:, half::step, half::step]
        found[:, ::step, half::step] = mean_and_noise(
            middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 2)
        )
        found[:, half::step, ::step] = mean_and_noise(
            middles + np.roll(middles, 1, 2) + corners + np.roll(corners, -1, 1)
        )
        step, size = half, np.float32(size / decay**2)
    found -= found.min(axis=(1, 2), keepdims=True)
    return np.asarray(found / np.maximum(found.max(axis=(1, 2), keepdims=True), 1e-12))


def brightness(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    """Raises the value of hue, saturation and value, so all three colours by one factor."""
    added = (0.05, 0.10, 0.15, 0.20, 0.30)[level]
    values = to_float(images)
    value = values.max(axis=3, keepdims=True)
    new = np.minimum(value + np.float32(added), 1)
    return to_uint8(np.where(value > 0, values * new / np.maximum(value, 1e-6), new))


def spatter(images: np.ndarray, level: int, draws: Draws) -> np.ndarray:
    """Drops of water, and from severity 4 on of mud."""
    mean, spread, sigma, least, strength = (
        (0.62, 0.1, 0.7, 0.70, 0.5),
        (0.65, 0.1, 0.8, 0.70, 0.5),
        (0.65, 0.3, 1.0, 0.69, 0.5),
        (0.65, 0.1, 0.7, 0.69, 0.6),
        (0.65, 0.1, 0.5, 0.68, 0.6),
    )[level]
    layer = gaussian_blur(mean + spread * draws.normal(*base_sides(images)), sigma)
    layer = np.where(layer < least, 0, layer)
    values = to_float(images)
    if level >= 3:
        mask = gaussian_blur((layer > least).astype(np.float32), strength)
        mask = enlarge(np.where(mask < 0.8, 0, mask), *images.shape[1:3])[..., None]
        return to_uint8(values * (1 - mask) + mask * np.array(MUD, np.float32) / 255)
    water = drops(to_uint8(layer))
    most = water.max(axis=(1, 2), keepdims=True)
    water = enlarge(strength * water / np.where(most > 0, most, 1), *images.shape[1:3])[..., None]
    return to_uint8(values + water * np.array(TURQUOISE, np.float32) / 255)


def drops(layer: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 to float32: the liquid with light on one side of its edges."""
    found = edges(layer)
    # Images are so far apart that none is nearest to another's edge.
    apart = (1e6, 1.0, 1.0)
    near = ndimage.distance_transform_edt(~found, sampling=apart) if found.any() else np.full(layer.shape, 20.0)
    box = np.full((3, 3), 1 / 9)
    near = filter_2d(np.minimum(near, 20).astype(np.float32), box)
    light = equalise((near + ALIKE).astype(np.uint8)).astype(np.float32)
    relief = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    light = filter_2d(np.clip(filter_2d(light, relief), 0, 255).round(), box)
    return layer * light


def edges(layer: np.ndarray) -> np.ndarray:
    """(N, H, W) uint8 to bool: Canny's edges with thresholds 50 and 150 on |dx| + |dy| of Sobel.

    Source: Canny, doi:10.1109/TPAMI.1986.4767851, without smoothing, as OpenCV computes it.
    """
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    padded = np.pad(layer.astype(np.float32), [(0, 0), (1, 1), (1, 1)], mode="edge")
    dx, dy = (filter_2d(padded, kernel)[:, 1:-1, 1:-1] for kernel in (across, across.T))
    size = np.abs(dx) + np.abs(dy)
    around = np.pad(size, [(0, 0), (1, 1), (1, 1)])

    def at(down: int, right: int) -> np.ndarray:
        return around[:, 1 + down : around.shape[1] - 1 + down, 1 + right : around.shape[2] - 1 + right]

    flat, steep = np.abs(dy) < np.tan(np.pi / 8) * np.abs(dx), np.abs(dy) > np.tan(3 * np.pi / 8) * np.abs(dx)
    same = dx * dy >= 0
    before = np.where(flat, at(0, -1), np.where(steep, at(-1, 0), np.where(same, at(-1, -1), at(-1, 1))))
    after = np.where(flat, at(0, 1), np.where(steep, at(1, 0), np.where(same, at(1, 1), at(1, -1))))
    ridge = (size > before) & np.where(flat | steep, size >= after, size > after)
    weak, strong = ridge & (size > 50), ridge & (size > 150)
    while True:
        grown = weak & ndimage.binary_dilation(strong, np.ones((1, 3, 3), bool))
        if (grown == strong).all():
            return np.asarray(strong)
        strong = grown


def equalise(images: np.ndarray) -> np.ndarray:
    """Histogram equalisation of each of (N, H, W) uint8, as OpenCV does it: the lowest value becomes 0."""
    n = len(images)
    flat = images.reshape(n, -1)
    counts = np.bincount((flat + 256 * np.arange(n)[:, None]).ravel(), minlength=256 * n).reshape(n, 256)
    total, lowest = flat.shape[1], flat.min(axis=1)
    first = counts[np.arange(n), lowest]
    above = np.cumsum(counts, axis=1) - first[:, None]
    table = np.clip(np.rint(above * (255 / np.maximum(total - first, 1))[:, None]), 0, 255)
    table = np.where((first == total)[:, None], lowest[:, None], table).astype(np.uint8)
    return np.take_along_axis(table, flat, 1).reshape(images.shape)
