"""Is a difference more than luck? For two networks that answered the same questions: McNemar's exact test, and intervals of
paired differences. The luck is that of the examples that were drawn for the test, not of the seed of a training.
"""

from __future__ import annotations

import math

import numpy as np

from core.common.values import t_half_width

Z95 = 1.959964
BLOCKS = 64
"""Parts of a text whose means are compared."""
FEWEST_BLOCKS = 10
LEAST_BLOCK = 50
"""Characters of the shortest block: neighbours depend on each other, blocks should hardly."""


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided exact p value, 0..1. lost: examples that only the first got right; gained: only the second.

    Where both are equally good, either kind of disagreement is as likely as the other, so the smaller count is binomial with
    p = 1/2. 1 where they never disagree. Source: McNemar 1947, doi:10.1007/BF02295996, with the binomial in place of χ².
    """
    from scipy import special

    n = lost + gained
    if n == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(lost, gained), n, 0.5)))


def paired_interval(lost: int, gained: int, n: int, z: float = Z95) -> tuple[float, float]:
    """95% interval of (gained - lost) / n in percentage points; lost, gained: as for `mcnemar`; n: all examples. z: another
    quantile of the normal distribution, for another level.

    The adjusted Wald interval of Bonett & Price 2012 (doi:10.3102/1076998611411915): one disagreement of each kind is added,
    which keeps the coverage near 95% where there are few or none (then it is about ±277/n points) and changes nothing that
    can be seen where there are many. (-100, 100) for n = 0.
    """
    if n == 0:
        return -100.0, 100.0
    first, second = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    centre = second - first
    half = z * math.sqrt((first + second - centre * centre) / (n + 2))
    return 100 * max(-1.0, centre - half), 100 * min(1.0, centre + half)


def mean_interval(differences: np.ndarray) -> tuple[float, float] | None:
    """95% interval of the mean of a series whose neighbours depend on each other. differences: (N,), in order.

    Batch means: the series is cut into up to 64 contiguous blocks of 50 or more, and Student's t is taken of their means
    (Schmeiser 1982, doi:10.1287/opre.30.3.556). None for a series too short for ten blocks.
    """
    blocks = min(BLOCKS, len(differences) // LEAST_BLOCK)
    if blocks < FEWEST_BLOCKS:
        return None
    values = np.asarray(differences, dtype=np.float64)
    means = [float(block.mean()) for block in np.array_split(values, blocks)]
    half, mean = t_half_width(means) or 0.0, float(values.mean())
    return mean - half, mean + half
