"""Stratified picks that are the same on every machine and numpy version.

Only the raw 64-bit words of PCG64 are used: numpy guarantees those, but not the streams of its Generator methods (NEP 19).
"""

from __future__ import annotations

import numpy as np

from core.common.errors import LabError
from core.data.dataset import Split


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Indices of `labels` (N,) in an order whose every beginning holds the classes in proportion: (N,) int64.

    Classes of equal size differ by at most one image in any beginning. The first n are part of the first n+1: a learning
    curve over n adds images and swaps none.
    """
    classes, which = np.unique(labels, return_inverse=True)
    words = np.random.PCG64(seed).random_raw(len(labels) + len(classes))  # uint64
    place = np.empty(len(labels))
    for number in range(len(classes)):
        members = np.flatnonzero(which == number)
        shuffled = members[np.argsort(words[members], kind="stable")]
        start = words[len(labels) + number] / 2**64  # spreads small classes instead of adding them all at once
        place[shuffled] = (np.arange(len(members)) + start) / len(members)
    return np.lexsort((words[: len(labels)], place))


def subset(split: Split, n: int, seed: int) -> Split:
    """`n` images of a split, stratified and seeded, in the split's own order. `n` ≥ len(split) gives the split itself."""
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise LabError(f"{n!r} images cannot be picked: give a whole number of at least 1.")
    if n >= len(split):
        return split
    chosen = np.sort(stratified_order(split.labels, seed)[:n])
    files = tuple(split.files[index] for index in chosen) if split.files else ()
    return Split(images=split.images[chosen], labels=split.labels[chosen], files=files)


def held_count(members: int, fraction: float) -> int:
    """How many of a class are held out."""
    return max(1, round(fraction * members))


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split indices of `labels` (N,) class by class into (kept, held out), both ascending.

    `fraction` of each class is held out, rounded, but at least one image. Where every class has the same size, these are
    the first images of `stratified_order`.
    """
    order = stratified_order(labels, seed)
    held: list[np.ndarray] = []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        held.append(members[: held_count(len(members), fraction)])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out
