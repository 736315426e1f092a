"""Maps that know nothing of the network: what an explanation has to beat."""

from __future__ import annotations

import numpy as np

CONTROLS = {
    "random": "a random map",
    "edges": "an edge detector (Sobel)",
    "blob": "a blob in the centre",
}
"""The blob stands for the habit of photographers to put what they show into the middle."""
CONTROL_TITLES = {"random": "Random map", "edges": "Edge detector", "blob": "Centre blob"}
OTHER = "other"
"""One more control, each method's own: its map of another image."""
RANDOM_MAPS = 3
"""Random maps whose curves are averaged, so that luck counts less."""


def random_map(side: int, seed: int) -> np.ndarray:
    """(side, side) float32, 0..1."""
    return np.random.default_rng([seed, 1]).random((side, side), dtype=np.float32)


def edges(pixels: np.ndarray) -> np.ndarray:
    """Strength of Sobel's edges of the luminance, (H, W) float32 >= 0. pixels: (H, W, 3) uint8. Source: scikit-image."""
    from skimage.filters import sobel

    found = sobel(pixels.astype(np.float64) @ (0.2126, 0.7152, 0.0722) / 255)
    return found.round(6).astype(np.float32)  # rounding errors of an even area are no edges


def blob(side: int) -> np.ndarray:
    """A bell in the centre, standard deviation a quarter of the side: (side, side) float32, 0..1."""
    place = np.arange(side) - (side - 1) / 2
    bell = np.exp(-(place**2) / (2 * (side / 4) ** 2))
    return np.outer(bell, bell).astype(np.float32)


def mean_random(values: dict[str, float]) -> dict[str, float]:
    """Of what was measured of each of `control_maps`: of each of CONTROLS, the random one being the mean of several."""
    randoms = [value for name, value in values.items() if name.startswith("random-")]
    return {"random": float(np.mean(randoms)), "edges": values["edges"], "blob": values["blob"]}


def control_maps(pixels: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Each of `edges`, `blob` and `random-0` … `random-2`: (H, W) float32. pixels: (H, W, 3) uint8, H = W."""
    side = pixels.shape[0]
    randoms = {f"random-{number}": random_map(side, seed * RANDOM_MAPS + number) for number in range(RANDOM_MAPS)}
    return {"edges": edges(pixels), "blob": blob(side), **randoms}
