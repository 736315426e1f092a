"""What is wrong with a folder of images, before anything is trained on it.

Two files are the same image where their bytes are equal, and nearly the same where perceptual hashes differ in few bits and
the images themselves correlate: a hash alone takes different dull images for one. Measured with 500 CIFAR-10 images against
changed copies: found are all that were halved or compressed (JPEG at 60), 99% of those brightened by a quarter, 97% of those
cropped by 4% and 54% by 8%; none that is mirrored. Of the 8 million pairs of 4,000 test images it names five, each a true one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from core.common.progress import Progress, no_progress
from core.common.values import plural
from core.data.folder import SPLITS, ReadFolder, shown

NEAR_BITS = 8
"""Perceptual hashes of nearly the same image differ in at most so many of 64 bits."""
NEAR_CORRELATION = 0.9
"""At least so strongly do the grey values of nearly the same image correlate, on 16×16 pixels."""
FEW_IMAGES = 20
"""A class with fewer training images is named."""
RARE = 5
"""The largest class has so many times the images of a class that is called rare."""
FEW_TEST = 10
"""Test images of a class, below which its accuracy says little."""
SMALL_SIDE = 2
"""Images whose shorter side is less than 1/SMALL_SIDE of the model's input are called small."""
SHOWN_FILES = 100
MAX_BUCKET = 2000
"""Images with one byte of the hash in common that are compared with each other; more are dull ones."""

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    severity: Severity
    """`error`: the accuracy will be wrong; `warning`: it will suffer; `note`: to be known."""
    sentence: str
    """What is the case, and what to do."""
    groups: tuple[tuple[str, ...], ...] = ()
    """The files concerned, those that belong together in one group, as paths below the folder: at most SHOWN_FILES."""
    removable: tuple[str, ...] = ()
    """All files whose removal settles it: of copies all but one, which is one for testing where there is such."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Of one folder."""

    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    """Split -> readable images of each class."""
    findings: tuple[Finding, ...]
    """The gravest first."""
    notes: tuple[str, ...]
    """What was left out, converted or read otherwise, with counts."""
    sides: tuple[int, int]
    """Median width and height in the files, pixels."""

    @property
    def problems(self) -> int:
        return sum(finding.severity != "note" for finding in self.findings)


def audit(folder: ReadFolder, on_progress: Progress = no_progress) -> Audit:
    """Takes seconds for thousands of images, as all was seen while they were decoded. on_progress may raise to stop."""
    facts, files = folder.facts, folder.files
    names = [shown(file.path, folder.listing.root) for file in files]
    splits = folder.splits
    labels = np.array([file.label for file in files])
    same = _groups(_equal_pairs(facts.digest, facts.readable), len(files))
    alike = _groups(_near_pairs(folder, on_progress), len(files))
    findings = [
        *_leaks(same, splits, names, "the same image", set()),
        *_leaks(alike, splits, names, "nearly the same image", _held_copies(same, splits)),
        *_two_classes(alike, labels, folder.dataset.card.classes, names),
        *_repeated(same, splits, labels, names),
        *_unreadable(folder, names),
        *_class_counts(folder),
        *_flat(folder, names),
        *_small(folder, names),
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    good = facts.readable
    counts = {
        split: tuple(
            int(n) for n in np.bincount(labels[(splits == number) & good], minlength=len(folder.dataset.card.classes))
        )
        for number, split in enumerate(SPLITS)
    }
    converted = [
        f"{count:,} {'image' if count == 1 else 'images'}: {note}." for note, count in sorted(facts.notes.items())
    ]
    return Audit(
        classes=folder.dataset.card.classes,
        counts=counts,
        findings=tuple(sorted(findings, key=lambda finding: order[finding.severity])),
        notes=(*folder.listing.notes, *converted),
        sides=(int(np.median(facts.width[good])), int(np.median(facts.height[good]))),
    )


def _equal_pairs(digest: np.ndarray, readable: np.ndarray) -> np.ndarray:
    """(P, 2): pairs of files (each with the one before it) with equal bytes."""
    order = np.lexsort(digest.T)
    order = order[readable[order]]
    equal = np.flatnonzero((digest[order[1:]] == digest[order[:-1]]).all(axis=1))
    return np.stack([order[equal], order[equal + 1]], axis=1)


def _near_pairs(folder: ReadFolder, on_progress: Progress) -> np.ndarray:
    """(P, 2): pairs of files that hold nearly the same image, equal ones included; some pairs more than once.

    Two hashes of 64 bits that differ in at most 7 have one of their 8 bytes in common, so only such pairs are compared; of
    those that differ in 8, nearly all have.
    """
    facts = folder.facts
    found = [_equal_pairs(facts.digest, facts.readable)]
    hashed = np.flatnonzero(facts.readable & ~facts.flat)
    hashes = facts.perceptual_hash[hashed]
    row = np.cumsum(facts.readable) - 1  # of a file's pixels
    grey = cache(lambda index: _grey(folder.dataset.image(int(row[index]))))
    for byte in range(8):
        part = (hashes >> np.uint64(8 * byte)) & np.uint64(255)
        for value in np.unique(part):
            on_progress((byte + int(value) / 256) / 8, "compare")
            bucket = np.flatnonzero(part == value)[:MAX_BUCKET]
            near = np.bitwise_count(hashes[bucket, None] ^ hashes[None, bucket]) <= NEAR_BITS  # (B, B)
            places = np.flatnonzero(near.sum(axis=0) > 1)
            if not len(places):
                continue
            files = hashed[bucket[places]]  # (M,)
            greys = np.stack([grey(int(index)) for index in files])  # (M, 256)
            alike = near[np.ix_(places, places)] & (greys @ greys.T >= NEAR_CORRELATION)
            found.append(files[np.argwhere(np.triu(alike, 1))])
    return np.concatenate(found)


def _grey(image: np.ndarray) -> np.ndarray:
    """(256,): an image's grey values on 16×16 pixels, so that the product of two is their correlation; zeros where it has no
    contrast."""
    from PIL import Image

    small = Image.fromarray(image).convert("L").resize((16, 16), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float64).ravel()
    values = values - values.mean()
    return values / np.linalg.norm(values) if values.std() >= 1 else np.zeros_like(values)


def _groups(pairs: np.ndarray, count: int) -> list[list[int]]:
    """Files that are joined by pairs (P, 2), in groups of at least two."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return []
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    order = np.argsort(component, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    return [sorted(map(int, part)) for part in parts if len(part) > 1]


def _named(groups: list[list[int]], names: list[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names[index] for index in group[:SHOWN_FILES]) for group in groups[:SHOWN_FILES])


def _copies(groups: list[list[int]], splits: np.ndarray, names: list[str]) -> tuple[str, ...]:
    """All files of each group but one: the first of those that are kept furthest from training."""
    return tuple(
        names[index] for group in groups for index in sorted(group, key=lambda index: (-splits[index], index))[1:]
    )


def _held_copies(groups: list[list[int]], splits: np.ndarray) -> set[int]:
    """Files for validation or test whose group is in another split too."""
    return {index for group in groups if len(set(splits[group])) > 1 for index in group if splits[index] > 0}


def _leaks(
    groups: list[list[int]], splits: np.ndarray, names: list[str], what: str, known: set[int]
) -> Iterator[Finding]:
    """known: files that were named before."""
    held = _held_copies(groups, splits) - known
    if held:
        yield Finding(
            severity="error",
            sentence=f"{plural(len(held), 'image')} for validation or test {'is' if len(held) == 1 else 'are'} {what} as one in "
            "another part of the data: the accuracy would be too high. Remove one of each.",
            groups=_named(found := [group for group in groups if held.intersection(group)], names),
            removable=_copies(found, splits, names),
        )


def _two_classes(
    groups: list[list[int]], labels: np.ndarray, classes: tuple[str, ...], names: list[str]
) -> Iterator[Finding]:
    torn = [group for group in groups if len(set(labels[group])) > 1]
    if torn:
        first = " and ".join(sorted({classes[label] for label in labels[torn[0]]}))
        yield Finding(
            severity="error",
            sentence=f"{plural(len(torn), 'image')} in two classes at once, the first in {first}: keep each in the right one.",
            groups=_named(torn, names),
            removable=tuple(names[index] for group in torn for index in group),
        )


def _repeated(groups: list[list[int]], splits: np.ndarray, labels: np.ndarray, names: list[str]) -> Iterator[Finding]:
    inside = [group for group in groups if len(set(splits[group])) == 1 and len(set(labels[group])) == 1]
    extra = sum(len(group) - 1 for group in inside)
    if extra:
        yield Finding(
            severity="note",
            sentence=f"{plural(extra, 'file')} with the same image as another of its class.",
            groups=_named(inside, names),
            removable=_copies(inside, splits, names),
        )


def _unreadable(folder: ReadFolder, names: list[str]) -> Iterator[Finding]:
    errors = folder.facts.errors
    if errors:
        why = errors[min(errors)].partition(":")[0]
        yield Finding(
            severity="warning",
            sentence=f"{plural(len(errors), 'image')} left out as unreadable ({why[:1].lower()}{why[1:]}).",
            groups=tuple((names[index],) for index in sorted(errors)[:SHOWN_FILES]),
        )


def _class_counts(folder: ReadFolder) -> Iterator[Finding]:
    classes = folder.dataset.card.classes
    train, test = (
        np.bincount(split.labels, minlength=len(classes)) for split in (folder.dataset.train, folder.dataset.test)
    )
    few = [
        f"{classes[label]} ({train[label]})" for label in np.argsort(train, kind="stable") if train[label] < FEW_IMAGES
    ]
    rare = [classes[label] for label in np.argsort(train, kind="stable") if train[label] * RARE <= train.max()]
    if few:
        yield Finding(
            severity="warning",
            sentence=f"{plural(len(few), 'class')} with fewer than {FEW_IMAGES} training images: {_some(few)}. Add images.",
        )
    if rare:
        yield Finding(
            severity="warning",
            sentence=f"The largest class has at least {RARE} times the images of {_some(rare)}: "
            "choose Balance classes (under Advanced) when you train.",
        )
    if test.min() < FEW_TEST:
        yield Finding(
            severity="note",
            sentence=f"There are only {test.sum():,} test images, {test.min()} of the rarest class: the test accuracy will be "
            "uncertain.",
        )


def _flat(folder: ReadFolder, names: list[str]) -> Iterator[Finding]:
    flat = np.flatnonzero(folder.facts.flat & folder.facts.readable)
    if len(flat):
        yield Finding(
            severity="warning",
            sentence=f"{plural(len(flat), 'image')} of one colour: nothing can be learned from {_it(flat)}.",
            groups=tuple((names[index],) for index in flat[:SHOWN_FILES]),
            removable=tuple(names[index] for index in flat),
        )


def _small(folder: ReadFolder, names: list[str]) -> Iterator[Finding]:
    facts, size = folder.facts, folder.dataset.card.image_size
    small = np.flatnonzero(facts.readable & (np.minimum(facts.width, facts.height) * SMALL_SIDE < size))
    if len(small):
        yield Finding(
            severity="note",
            sentence=f"{plural(len(small), 'image')} less than half as large as the model's input ({size} pixels): "
            f"enlarging blurs {_it(small)}.",
            groups=tuple((names[index],) for index in small[:SHOWN_FILES]),
        )


def _it(files: np.ndarray) -> str:
    return "it" if len(files) == 1 else "them"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
