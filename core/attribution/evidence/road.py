"""Remove and debias: pixels are not covered but filled in from their neighbours, so that the shape of a hole tells little.

Source: Rong et al. (ROAD), arXiv:2202.00449.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.attribution.evidence.curves import ranks

if TYPE_CHECKING:
    from core.attribution.explainer import Explainer

SHARES = tuple(percent / 100 for percent in range(10, 100, 10))
"""Of the pixels that are filled in."""
NOISE = 0.01
"""Standard deviation of what is added to filled-in values, in the network's units."""
NEIGHBOURS = {
    (down, right): 1 / 12 if down and right else 1 / 6 for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right
}
"""(rows down, columns right) -> weight: a filled-in pixel is the weighted mean of its eight neighbours."""


def impute(inputs: np.ndarray, gone: np.ndarray, seed: int = 0) -> np.ndarray:
    """An image (C, H, W) with the pixels where `gone` (H, W) is set filled in; at least one must be left. float32."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import spsolve

    filled = inputs.astype(np.float64)
    count = int(gone.sum())
    if not count:
        return filled.astype(np.float32)
    number = np.full(gone.shape, -1)
    number[gone] = np.arange(count)
    rows, columns = np.nonzero(gone)
    total, known = np.zeros(count), np.zeros((count, len(inputs)))
    parts = []
    for (down, right), weight in NEIGHBOURS.items():
        y, x = rows + down, columns + right
        there = (y >= 0) & (y < gone.shape[0]) & (x >= 0) & (x < gone.shape[1])
        own, y, x = np.flatnonzero(there), y[there], x[there]
        total[own] += weight
        hidden = gone[y, x]
        known[own[~hidden]] += weight * filled[:, y[~hidden], x[~hidden]].T
        parts.append((own[hidden], number[y[hidden], x[hidden]], np.full(hidden.sum(), -weight)))
    parts.append((np.arange(count), np.arange(count), total))
    own, other, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    solved = spsolve(csr_matrix((weights, (own, other)), shape=(count, count)), known).reshape(count, -1)
    noise = np.random.default_rng([seed, 4]).normal(0, NOISE, solved.shape)
    filled[:, rows, columns] = (solved + noise).T
    return filled.astype(np.float32)


def road(
    explainer: Explainer, pixels: np.ndarray, target: int, maps: dict[str, np.ndarray], seed: int = 0
) -> dict[str, float]:
    """Of each map (H, W) how far the probability falls more when its first pixels are filled in than when its last are:
    mean over SHARES, -1..1, zero expected of a random order.

    pixels: (H, W, 3) uint8. Maps are ranked as for the curves.
    """
    import torch

    inputs = explainer.inputs(pixels)
    image = inputs[0].cpu().numpy()
    found = {}
    for name, values in maps.items():
        rank = ranks(values, seed)
        first = [impute(image, rank < round(share * rank.size), seed) for share in SHARES]
        last = [impute(image, rank >= rank.size - round(share * rank.size), seed) for share in SHARES]
        answers = explainer.probabilities(torch.from_numpy(np.stack([*last, *first])).to(inputs.device))[:, target]
        kept, lost = answers.cpu().numpy().astype(np.float64).reshape(2, -1)
        found[name] = float(np.mean(kept - lost))
    return found
