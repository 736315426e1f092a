"""Whether generated images are copies of training images, with real images that nobody trained on as the control.

An image is held against all training images and their mirror images. A blurred image is close to many, a copy to one: so
what counts is the distance to the nearest as a share of the mean distance to the 50 nearest, as for diffusion models in
Carlini et al., arXiv:2301.13188.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.common.errors import LabError
from core.synthesis.progress import Told, told_nothing
from core.synthesis.results import Copies, Rate

NEAREST = 50
ALARM = 0.01
"""Share of real images that are called copies, by choice."""
AT_ONCE, VALUES_AT_ONCE = 500, 2**24
"""Images that are asked about together, and numbers of training images that are compared together: 64 MB."""
LEAST_HELD_OUT = 200
"""Images that set the limit and control it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Neighbours:
    """The nearest training images of each of N images."""

    places: np.ndarray
    """(N, at most 50) their places among the training images, nearest first."""
    distance: np.ndarray
    """(N,) to the first, root mean square over pixels (0..255) or Euclidean over features."""
    ratio: np.ndarray
    """(N,) the same as a share of the mean distance to the nearest 50; 0 for an exact copy, about 1 for no copy."""


def as_rows(images: np.ndarray) -> Tensor:
    """Pixels (N, H, W, 3) uint8 as rows (N, 3HW), still uint8: only what is compared at a time becomes float."""
    return torch.from_numpy(np.ascontiguousarray(images)).flatten(1)


def _comparable(rows: Tensor) -> Tensor:
    """Pixels (n, F) uint8 as float32, so that Euclidean distances are root mean squares of pixels; features as they are."""
    return rows.float() / rows.shape[1] ** 0.5 if rows.dtype == torch.uint8 else rows


def nearest_training_images(queries: tuple[Tensor, ...], train: Tensor, on_images: Told = told_nothing) -> Neighbours:
    """The nearest of `train` (M, F) to each image. queries: (N, F) of the images, and of their mirror images if those count too.

    Raises LabError for fewer than two training images.
    """
    if len(train) < 2:
        raise LabError("There are fewer than two training images: nothing can be called a copy.")
    most, size = min(NEAREST, len(train)), max(1, VALUES_AT_ONCE // train.shape[1])
    found: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(queries[0]), min(AT_ONCE, size)):
        asked = [_comparable(rows[start : start + min(AT_ONCE, size)]) for rows in queries]
        best = torch.full((len(asked[0]), 0), 0.0)
        where = best.long()
        for first in range(0, len(train), size):
            part = _comparable(train[first : first + size])
            near = torch.stack([torch.cdist(rows, part) for rows in asked]).amin(0)
            best = torch.cat([best, near], dim=1)
            where = torch.cat([where, torch.arange(first, first + len(part)).expand(len(near), -1)], dim=1)
            best, order = best.topk(min(most, best.shape[1]), dim=1, largest=False)
            where = where.gather(1, order)
        found.append((best, where))
        on_images(start + len(best))
    distances, places = (torch.cat(list(parts)) for parts in zip(*found, strict=True))
    mean = distances.mean(1).clamp(min=1e-12)
    return Neighbours(places=places.numpy(), distance=distances[:, 0].numpy(), ratio=(distances[:, 0] / mean).numpy())


def copy_rate(generated: Neighbours, held_out: Neighbours) -> Copies:
    """The first half of the held-out images sets the limit that 1% of them are below; the other half says how often that calls
    a real image a copy. Without the images. Raises LabError for too few of them."""
    if len(held_out.ratio) < LEAST_HELD_OUT:
        raise LabError(
            f"There are only {len(held_out.ratio)} images that the generator was not trained on: {LEAST_HELD_OUT} are needed to "
            "tell copies."
        )
    half = len(held_out.ratio) // 2
    limit, control = float(np.quantile(held_out.ratio[:half], ALARM)), held_out.ratio[half:]
    hits = (int((each < limit).sum()) for each in (generated.ratio, control))
    return Copies(
        generated=Rate(hits=next(hits), images=len(generated.ratio)),
        held_out=Rate(hits=next(hits), images=len(control)),
        limit=limit,
    )
