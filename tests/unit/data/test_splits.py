"""Splits and subsets: stratified, seeded, and the same for ever."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.common.errors import LabError
from core.data import Split, subset
from core.data.cifar10 import SPLIT_SEED
from core.data.splits import hold_out, stratified_order

LABELS = np.arange(50_000) % 10
"""Shaped like CIFAR-10's: 5,000 of each of ten classes."""


def a_split(labels: list[int]) -> Split:
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    return Split(images=images, labels=np.array(labels, dtype=np.int64))


def test_validation_is_disjoint_and_stratified_and_pinned() -> None:
    kept, held = hold_out(LABELS, 0.1, SPLIT_SEED)
    assert len(kept) == 45_000
    assert len(held) == 5_000
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(50_000))
    assert np.bincount(LABELS[held]).tolist() == [500] * 10
    assert not np.array_equal(hold_out(LABELS, 0.1, 1)[1], hold_out(LABELS, 0.1, 2)[1])
    # Shipped figures were measured with exactly these images held out.
    assert (
        hashlib.sha256(held.astype("<i8").tobytes()).hexdigest()
        == "05e3a0535e4b2a3efbed8a4d802b99a6dbf6ab91e62655c424a38795aeb006f8"
    )


def test_small_classes_keep_at_least_one_image_on_each_side() -> None:
    labels = np.array([0, 0, 1, 1, 1, 2] + [3] * 40)
    kept, held = hold_out(labels[labels != 2], 0.1, 0)
    remaining = labels[labels != 2]
    assert np.bincount(remaining[held], minlength=4).tolist() == [1, 1, 0, 4]
    assert np.bincount(remaining[kept], minlength=4).tolist() == [1, 2, 0, 36]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 15), st.integers(0, 2**31 - 1))
def test_every_beginning_of_the_order_is_stratified(classes: int, each: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), each))
    order = stratified_order(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    for n in range(1, len(labels) + 1):
        counts = np.bincount(labels[order[:n]], minlength=classes)
        assert counts.max() - counts.min() <= 1


def test_small_classes_enter_in_proportion_on_average() -> None:
    labels = np.array([0, 1, 2, 3] + [4] * 96)
    few = [np.count_nonzero(labels[stratified_order(labels, seed)[:50]] < 4) for seed in range(300)]
    assert np.mean(few) == pytest.approx(2.0, abs=0.3)


def test_subset_is_stratified_seeded_and_nested() -> None:
    split = a_split([0, 1, 2, 3] * 25)
    small, large = subset(split, 20, seed=5), subset(split, 41, seed=5)
    assert np.bincount(small.labels).tolist() == [5, 5, 5, 5]
    chosen = small.images[:, 0, 0, 0]
    assert set(chosen.tolist()) <= set(large.images[:, 0, 0, 0].tolist())
    assert np.all(np.diff(chosen.astype(int)) > 0), "the split's own order is kept"
    assert np.array_equal(split.labels[chosen], small.labels), "images and labels stay together"
    assert np.array_equal(chosen, subset(split, 20, seed=5).images[:, 0, 0, 0])
    assert not np.array_equal(chosen, subset(split, 20, seed=6).images[:, 0, 0, 0])
    assert subset(split, 100, seed=0) is subset(split, 101, seed=0) is split


@pytest.mark.parametrize("n", [0, -3, 2.5, True])
def test_subset_refuses_counts_that_are_none(n: object) -> None:
    with pytest.raises(LabError, match="at least 1"):
        subset(a_split([0, 1]), n, seed=0)  # type: ignore[arg-type]
