"""The 15 common corruptions at five severities, and four more, with the constants published for CIFAR-10.

Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, and the script make_cifar_c.py of hendrycks/robustness. Recomputed:
other random numbers than the official files, and frost that is computed where they have photographs. Any colour images of
8 bits will do; lengths that are pixels grow with the shorter side. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.common.errors import LabError
from core.shift.catalogue import SEVERITIES
from core.shift.corruptions import blur, digital, noise, weather
from core.shift.corruptions.pixels import Draws

AT_ONCE = 2_000_000
"""Values of pixels in a chunk: more would leave the processor's cache."""
SMALLEST_PX = 8
"""Side of the smallest image: the kernels reach further than that."""
FUNCTIONS: dict[str, Callable[[np.ndarray, int, Draws], np.ndarray]] = {
    function.__name__: function
    for function in (
        *(noise.gaussian_noise, noise.shot_noise, noise.impulse_noise, noise.speckle_noise),
        *(blur.defocus_blur, blur.glass_blur, blur.motion_blur, blur.zoom_blur, blur.gaussian_blur),
        *(weather.snow, weather.frost, weather.fog, weather.brightness, weather.spatter),
        *(digital.contrast, digital.elastic_transform, digital.pixelate, digital.jpeg_compression, digital.saturate),
    )
}
"""(N, H, W, 3) uint8, severity minus 1 and random draws to images of the same shape."""


def corrupt(
    images: np.ndarray, name: str, severity: int, *, seed: int = 0, numbers: Sequence[int] | None = None
) -> np.ndarray:
    """Images as a corruption leaves them. images: (N, H, W, 3) uint8, which stay as they are; returns the same shape.

    severity: 1 to 5; 0 changes nothing. numbers: of the images in their dataset, 0 to N - 1 without them: an image's random
    numbers come from the seed and its own number, so no batch changes them. Raises LabError for anything else.
    """
    if name not in FUNCTIONS:
        raise LabError(f"There is no corruption named {str(name)[:40]!r}: choose one of {', '.join(FUNCTIONS)}.")
    if isinstance(severity, bool) or not isinstance(severity, int) or not 0 <= severity <= len(SEVERITIES):
        raise LabError(f"severity={str(severity)[:20]} is not valid: it must be a whole number from 0 to 5.")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < SMALLEST_PX:
        raise LabError(
            f"Images of {images.dtype} and shape {'x'.join(map(str, images.shape))} cannot be corrupted: give uint8 of N x H x W "
            f"x 3, with sides of {SMALLEST_PX} pixels at least."
        )
    if severity == 0 or not len(images):
        return images.copy()
    numbers = range(len(images)) if numbers is None else numbers
    if len(numbers) != len(images):
        raise LabError(f"{len(numbers)} numbers for {len(images)} images: give each image one.")
    size = max(1, AT_ONCE // images[0].size)
    return np.concatenate(
        [
            FUNCTIONS[name](images[at : at + size], severity - 1, Draws(seed, name, numbers[at : at + size]))
            for at in range(0, len(images), size)
        ]
    )
