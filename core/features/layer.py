"""All channels of a layer: dead, redundant, and what class, colour and spatial frequency each responds to."""

from __future__ import annotations

import numpy as np

from core.checkpoints.store import Checkpoint
from core.common.progress import Progress, no_progress
from core.data.dataset import Split
from core.features.results import ChannelFacts, LayerFacts
from core.features.unit import dead_units
from core.features.units import find_layer, real_images, responses_of

REDUNDANT = 0.95
"""Correlation, in size, above which two channels say the same."""
TOP_SHARE = 0.01
HUES = {
    "red": (2, -1, -1),
    "yellow": (1, 1, -2),
    "green": (-1, 2, -1),
    "cyan": (-2, 1, 1),
    "blue": (-1, -1, 2),
    "magenta": (1, -2, 1),
}
"""Directions away from grey."""


def study_layer(checkpoint: Checkpoint, layer: str, test: Split, *, on_progress: Progress = no_progress) -> LayerFacts:
    """Raises LabError for a layer that there is not. test: images with their labels."""
    found, (places, split) = find_layer(checkpoint, layer), real_images(test)
    values = responses_of(checkpoint.model, checkpoint.card, layer, split, on_progress)
    dead = dead_units(values, found)
    classes = checkpoint.card.image_data.classes
    selectivity, favourite = class_selectivity(values, split.labels, len(classes))
    twins, correlation = redundancy(values, dead)
    order = np.argsort(-values, axis=0, kind="stable")[: max(1, round(TOP_SHARE * len(split)))]  # (T, C)
    chroma, hue = preferred_colour(mean_colours(split.images), order)
    frequency = spatial_frequency(split.images)
    return LayerFacts(
        layer=layer,
        images=len(split),
        channels=tuple(
            ChannelFacts(
                channel=number,
                strongest=float(values[:, number].max()),
                dead=bool(dead[number]),
                selectivity=float(selectivity[number]),
                favourite=classes[int(favourite[number])],
                chroma=float(chroma[number]),
                hue=hue[number],
                frequency=float(frequency[order[:, number]].mean()),
                twin=int(twins[number]) if abs(correlation[number]) > REDUNDANT else None,
                correlation=float(correlation[number]),
                best=int(places[order[0, number]]),
            )
            for number in range(values.shape[1])
        ),
    )


def class_selectivity(values: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(C,) eta squared of responses (N, C), 0..1, and (C,) the class with the largest mean."""
    present = np.bincount(labels, minlength=classes)
    sums = np.zeros((classes, values.shape[1]))
    np.add.at(sums, labels, values)
    means = sums / np.maximum(present, 1)[:, None]
    overall = values.mean(0, dtype=np.float64)
    total = ((values - overall) ** 2).sum(0, dtype=np.float64)
    between = (present[:, None] * (means - overall) ** 2).sum(0)
    return np.divide(between, total, out=np.zeros_like(total), where=total > 0), np.where(
        present[:, None] > 0, means, -np.inf
    ).argmax(0)


def redundancy(values: np.ndarray, dead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each channel of responses (N, C) the other one that it correlates most with in size, and that correlation; 0 for a
    dead channel."""
    centred = values - values.mean(0, dtype=np.float64)
    length = np.sqrt((centred**2).sum(0))
    alive = ~dead & (length > 0)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=alive)
    correlation = unit.T @ unit
    np.fill_diagonal(correlation, 0)
    twin = np.abs(correlation).argmax(1)
    return twin, correlation[np.arange(len(twin)), twin]


def mean_colours(images: np.ndarray) -> np.ndarray:
    """(N, 3) of images (N, H, W, 3) uint8, 0..255."""
    return np.asarray(images.mean((1, 2), dtype=np.float64))


def preferred_colour(colours: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """How far from grey, and which hue, the mean colour of some images is, against that of all. colours: (N, 3); order: (T, C)
    places of the images. Returns (C,) and C names."""
    shift = colours[order].mean(0) - colours.mean(0)  # (C, 3)
    shift -= shift.mean(1, keepdims=True)
    directions = np.array(list(HUES.values()), dtype=np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    names = list(HUES)
    return np.linalg.norm(shift, axis=1), [names[place] for place in (shift @ directions.T).argmax(1)]


def spatial_frequency(images: np.ndarray) -> np.ndarray:
    """(N,) mean frequency of images (N, H, W, 3) uint8, weighted by amplitude, cycles per pixel; 0 for an even one."""
    found = []
    for part in np.array_split(images, max(1, len(images) // 500)):
        grey = part.mean(3, dtype=np.float32)
        amplitude = np.abs(np.fft.rfft2(grey - grey.mean((1, 2), keepdims=True)))
        height, width = grey.shape[1:]
        radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        total = amplitude.sum((1, 2))
        found.append(np.divide((amplitude * radius).sum((1, 2)), total, out=np.zeros_like(total), where=total > 1e-3))
    return np.concatenate(found)
