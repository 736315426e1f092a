"""Rank correlation: what it must be of maps that are the same, turned over, or constant."""

from __future__ import annotations

import numpy as np
import pytest

from core.attribution.evidence.similarity import rank_correlation


def test_only_the_order_of_pixels_counts() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 9, (2, 12, 12)).astype(float)
    assert rank_correlation(one, one**3) == pytest.approx(1.0)
    assert rank_correlation(one, -one) == pytest.approx(-1.0)
    assert abs(rank_correlation(one, other)) < 0.3
    assert rank_correlation(one, np.ones((12, 12))) == 0.0


def test_ties_share_their_rank() -> None:
    one, other = np.array([1.0, 2.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])
    assert rank_correlation(one, other) == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4], [1, 3, 2, 4])[0, 1])
