"""The square of a photo that a model sees, where a person chose it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.common.errors import LabError

if TYPE_CHECKING:
    import numpy as np

LEAST_PX = 8
"""Side of the smallest square, pixels of the photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Square:
    """Independent of the photo's resolution."""

    left: float
    """Of its left edge, 0..1 of the photo's width."""
    top: float
    """Of its top edge, 0..1 of the photo's height."""
    side: float
    """0..1 of the photo's shorter side."""

    def __str__(self) -> str:
        """As `parse_square` reads it: `0.12,0.08,0.5`."""
        return ",".join(f"{value:.3f}".rstrip("0").rstrip(".") for value in (self.left, self.top, self.side))

    def box(self, width: int, height: int) -> tuple[int, int, int]:
        """Left, top and side in pixels of a photo of that size: inside it, and at least LEAST_PX wide where it is."""
        shorter = min(width, height)
        side = min(max(round(self.side * shorter), LEAST_PX), shorter)
        return min(round(self.left * width), width - side), min(round(self.top * height), height - side), side

    def crop(self, rgb: np.ndarray) -> np.ndarray:
        """(S, S, 3): this square of a photo (H, W, 3)."""
        left, top, side = self.box(rgb.shape[1], rgb.shape[0])
        return rgb[top : top + side, left : left + side]


def parse_square(text: str) -> Square:
    """Reads `left,top,side`. Raises LabError for anything but three numbers from 0 to 1, the side above 0."""
    try:
        left, top, side = (float(part) for part in text[:100].split(","))
    except ValueError:
        left = top = side = math.nan
    if not (0 <= left <= 1 and 0 <= top <= 1 and 0 < side <= 1):  # nan fails each of them
        raise LabError(
            f"{text[:40]!r} is not a square: write left, top and side as numbers from 0 to 1, as in 0.1,0.2,0.5."
        )
    return Square(left=left, top=top, side=side)
