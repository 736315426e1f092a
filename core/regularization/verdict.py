"""Does a technique help, by how much, and is it more than luck? Paired differences with simultaneous intervals.

A study trains arms (settings of techniques) at some training-set sizes with seeds 0..n-1. All arms of a seed share the
initial weights, the training images and their order, so the seed is a block: each arm is compared with the baseline
seed by seed, and what a seed does to all arms alike cancels.

An interval is effect ± c·sqrt(v/n), with n seeds that the arm and the baseline share, and c from Dunnett's many-to-one
distribution (Dunnett 1955, doi:10.1080/01621459.1955.10501294) for all arms of a size at once. v, the variance of a
difference, is the largest of three estimates:
- pooled: twice the residual variance of the additive model arm + seed, fitted by least squares to all cells;
- paired: the variance of the differences to the baseline within arms, averaged over the arms;
- own: the variance of this arm's differences.
Pooled alone would be exact if all arms spread alike. They need not (mixup may spread more, an unregularized baseline
may too), and with a few seeds nobody can tell. Simulated, 100,000 studies a cell, standard error at most 0.2: the share
in % of null studies with any false verdict where all arms spread alike, one arm has twice or three times the residual
sd, the baseline has twice; and the power in % for one true effect of 2 and of 4 residual sd where all spread alike.
k arms beside the baseline, n seeds.

                            all alike   arm ×2   arm ×3   baseline ×2   2 sd   4 sd
    k=4, n=3  pooled           5.0        6.2      9.1       10.4        35     94
              pooled, own      3.8        4.4      5.9        7.8        28     87
              all three        3.4        4.1      5.7        6.4        26     86
              t + Holm         4.7        4.7      4.8        4.6         9     27
    k=9, n=3  pooled           5.0        7.0     12.0       15.5        33     96
              pooled, own      3.8        4.6      6.4       10.8        26     88
              all three        3.2        4.1      6.0        7.7        23     86
              t + Holm         4.9        4.8      4.8        4.4         4     13
    k=4, n=5  pooled           5.0        6.0      8.8       11.1        67    100
              pooled, own      3.9        3.9      4.6        7.5        59    100
              all three        3.5        3.7      4.5        5.7        57    100
              t + Holm         4.7        4.8      4.7        4.0        32     89
    k=9, n=5  pooled           5.0        6.9     11.6       16.4        63    100
              pooled, own      3.7        3.9      4.5        9.6        53     99
              all three        3.2        3.7      4.4        6.2        51     99
              t + Holm         4.6        4.8      4.7        3.6        18     73

So the largest of three: it alone keeps below 8% whichever arm spreads twice as much, and finds what it should with 3
seeds (with 14 arms and 3 seeds: about 9% where the baseline spreads twice as much). The luck that this is about is that of
the seed; that all seeds are measured on the same test images is not in it. With one arm beside the baseline the three
are equal, and the interval is that of the paired t-test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from core.common.errors import LabError
from core.common.values import plus_minus

Table = Mapping[str, Mapping[int, float]]
"""Arm -> seed -> accuracy, 0..1. A run that is not done, or diverged, has no cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What can be said about one arm at one training-set size."""

    kind: str
    """`baseline`, `helps`, `hurts`, `noise`, or `none`: fewer than two seeds shared with the baseline."""
    effect: float | None
    """Mean over the shared seeds of accuracy minus the baseline's accuracy, -1..1; None for `baseline` and `none`."""
    half_width: float | None
    """Half the width of the simultaneous interval around the effect, same unit; None where the effect is."""
    seeds: int
    """Seeds that the arm and the baseline share."""
    words: str
    """The verdict for people, in percentage points."""
    figures: str = ""
    """`+3.1 ± 0.6`, with as many digits as show that the interval leaves out 0; empty where there is no effect."""


def verdicts(tables: Mapping[int, Table], baseline: str, level: float = 0.95) -> dict[int, dict[str, Verdict]]:
    """A verdict on every arm at every size. tables: size -> arm -> seed -> accuracy, 0..1; cells may be missing.

    With probability `level` all intervals of the study hold at once: within a size by Dunnett, across the sizes that
    have any by Šidák's level ** (1 / sizes). Raises LabError for an accuracy outside 0..1.
    """
    for size, table in tables.items():
        for arm, cells in table.items():
            for seed, accuracy in cells.items():
                if not 0 <= accuracy <= 1:
                    raise LabError(
                        f"The accuracy of {arm}, seed {seed}, at {size} images is {accuracy}: give it as a share "
                        "from 0 to 1, and leave out runs that diverged."
                    )
    sizes = sum(bool(_compared(table, baseline)) for table in tables.values())
    each = level ** (1 / max(sizes, 1))
    return {size: _verdicts_at(table, baseline, each) for size, table in tables.items()}


@cache
def dunnett_quantile(comparisons: int, df: int, level: float) -> float:
    """c with P(|T_i| <= c for all i) = level. T_i: Student's t with df degrees of freedom, any two correlated by 0.5.

    That is the law of `comparisons` arms against one baseline, all of n runs and one variance. Exact to about 1e-9 while
    df >= comparisons, as it is wherever each arm shares two seeds with the baseline.
    Source: Dunnett 1955, doi:10.1080/01621459.1955.10501294.
    """
    from scipy import special

    # One comparison gives the least quantile and Bonferroni's inequality the largest; for one arm they are the same.
    low = float(special.stdtrit(df, (1 + level) / 2))
    high = float(special.stdtrit(df, 1 - (1 - level) / (2 * comparisons)))
    while low < (middle := (low + high) / 2) < high and high - low > 1e-13 * high:
        if dunnett_probability(middle, comparisons, df) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def dunnett_probability(bound: float, comparisons: int, df: int) -> float:
    """P(|T_i| <= bound for all i), T as in dunnett_quantile.

    T_i = (Z_i - Z_0) / (sqrt(2)·S): given the baseline's Z_0 and the estimated sd S the arms are independent. Gauss
    quadrature, Hermite over Z_0 and Legendre over S = sqrt(χ²/df).
    """
    from scipy import special

    z, z_weights, x, x_weights = _quadrature()
    tail = 1e-15
    least, most = (math.sqrt(2 * f(df / 2, tail) / df) for f in (special.gammaincinv, special.gammainccinv))
    s = least + (most - least) * (x + 1) / 2  # (128,)
    log_density = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2) + (df - 1) * np.log(s) - df * s * s / 2
    reach = math.sqrt(2) * bound * s[:, None]  # (128, 1)
    inside = (special.ndtr(z + reach) - special.ndtr(z - reach)) ** comparisons @ z_weights
    return float((x_weights * np.exp(log_density) * inside).sum() * (most - least) / 2)


@cache
def _quadrature() -> tuple[np.ndarray, ...]:
    """Nodes and weights of an average over the standard normal, and of an integral over -1..1."""
    z, z_weights = np.polynomial.hermite_e.hermegauss(64)
    return z, z_weights / z_weights.sum(), *np.polynomial.legendre.leggauss(128)


def residual_variance(table: Table) -> tuple[float, int]:
    """Variance and degrees of freedom left by the additive model arm + seed, least squares on the cells there are.

    The degrees of freedom are cells minus rank of the design; with none left the variance is NaN.
    """
    cells = [(arm, seed, table[arm][seed]) for arm in sorted(table) for seed in sorted(table[arm])]
    arms = {arm: column for column, arm in enumerate(sorted({arm for arm, _, _ in cells}))}
    seeds = {seed: column for column, seed in enumerate(sorted({seed for _, seed, _ in cells}), start=len(arms))}
    design = np.zeros((len(cells), len(arms) + len(seeds)))
    for row, (arm, seed, _) in enumerate(cells):
        design[row, [arms[arm], seeds[seed]]] = 1.0
    accuracy = np.array([accuracy for _, _, accuracy in cells])
    solution, _, rank, _ = np.linalg.lstsq(design, accuracy, rcond=None)
    df = len(cells) - int(rank)
    return float(((accuracy - design @ solution) ** 2).sum()) / df if df else math.nan, df


def _differences(table: Table, arm: str, baseline: str) -> np.ndarray:
    """(shared seeds,) accuracy minus the baseline's, in the order of the seeds."""
    ours, theirs = table[arm], table.get(baseline, {})
    return np.array([ours[seed] - theirs[seed] for seed in sorted(ours) if seed in theirs])


def _compared(table: Table, baseline: str) -> dict[str, np.ndarray]:
    """The differences of every arm that shares two or more seeds with the baseline."""
    found = {arm: _differences(table, arm, baseline) for arm in table if arm != baseline}
    return {arm: differences for arm, differences in found.items() if len(differences) >= 2}


def _verdicts_at(table: Table, baseline: str, level: float) -> dict[str, Verdict]:
    """The verdicts of one size, whose intervals hold at once with probability `level`."""
    of = len(table.get(baseline, {}))
    compared = _compared(table, baseline)
    critical = spread = 0.0
    if compared:  # two arms with two seeds in common leave at least one degree of freedom
        residual, df = residual_variance(table)
        squares = math.fsum(((d - d.mean()) ** 2).sum() for d in compared.values())
        spread = max(2 * residual, squares / sum(len(d) - 1 for d in compared.values()))
        critical = dunnett_quantile(len(compared), df, level)
    found = {}
    for arm in table:
        if arm == baseline:
            found[arm] = Verdict(kind="baseline", effect=None, half_width=None, seeds=of, words="baseline")
        elif arm in compared:
            d = compared[arm]
            half_width = critical * math.sqrt(max(spread, float(d.var(ddof=1))) / len(d))
            found[arm] = _verdict(float(d.mean()), half_width, len(d), of)
        else:
            found[arm] = _refusal(len(_differences(table, arm, baseline)), of)
    return found


def _verdict(effect: float, half_width: float, seeds: int, of: int) -> Verdict:
    kind = "noise" if abs(effect) <= half_width else "helps" if effect > 0 else "hurts"
    shared = f", {seeds} of {of} seeds" if seeds < of else ""
    name = "within seed noise" if kind == "noise" else kind
    figures = plus_minus(100 * effect, 100 * half_width, 1)
    words = f"{name} ({figures} points{shared})"
    return Verdict(kind=kind, effect=effect, half_width=half_width, seeds=seeds, words=words, figures=figures)


def _refusal(seeds: int, of: int) -> Verdict:
    if seeds == 0:
        words = "no verdict: it shares no seed with the baseline; run both with the same seeds"
    elif seeds < of:
        words = f"no verdict: one seed (1 of {of}) says nothing about luck; run at least 3"
    else:
        words = "no verdict: one seed says nothing about luck; run at least 3"
    return Verdict(kind="none", effect=None, half_width=None, seeds=seeds, words=words)
