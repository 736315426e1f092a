"""All channels of a layer: dead, redundant, and what class, colour and spatial frequency each responds to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from core.checkpoints.store import Checkpoint
from core.common.progress import Progress, no_progress
from core.data.dataset import Split
from core.features.results import ChannelFacts, LayerFacts
from core.features.source import REAL_IMAGES, source_of
from core.features.unit import count_classes, dead_units
from core.features.units import Responses, enlarging, find_layer, real_images, responses_of
from core.inference.images import normalise
from core.models import images_at_once
from core.models.receptive_field import spans

REDUNDANT = 0.95
"""Correlation, in size, above which two channels say the same."""
TOP_SHARE = 0.01
PATCHES_AT_ONCE = 128
HUES = {
    "red": (2, -1, -1),
    "yellow": (1, 1, -2),
    "green": (-1, 2, -1),
    "cyan": (-2, 1, 1),
    "blue": (-1, -1, 2),
    "magenta": (1, -2, 1),
}
"""Directions away from grey."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageStatistics:
    """What channels are compared by, of the images that a layer is shown."""

    places: np.ndarray
    """(N,) where they are in the test split."""
    split: Split
    colours: np.ndarray
    """(N, 3) mean colour, 0..255."""
    frequency: np.ndarray
    """(N,) mean spatial frequency, cycles per pixel."""


def image_statistics(test: Split, most: int = REAL_IMAGES) -> ImageStatistics:
    """The same for all layers and networks. Raises LabError where there are no images."""
    places, split = real_images(test, most)
    return ImageStatistics(
        places=places, split=split, colours=mean_colours(split.images), frequency=spatial_frequency(split.images)
    )


def study_layer(
    checkpoint: Checkpoint,
    layer: str,
    test: Split,
    *,
    known: ImageStatistics | None = None,
    on_progress: Progress = no_progress,
) -> LayerFacts:
    """Raises LabError for a layer that there is not. test: images of `source_of(card)` with their labels. known: their
    statistics, where they were computed before."""
    found, source = find_layer(checkpoint, layer), source_of(checkpoint.card)
    known = known or image_statistics(test, source.most)
    labels = known.split.labels
    values = responses_of(checkpoint.model, checkpoint.card, layer, known.split, on_progress)
    dead = dead_units(values, found)
    selectivity = class_selectivity(values, labels, len(source.classes))
    twins, correlation = redundancy(values, dead)
    ranked = np.argsort(-values, axis=0, kind="stable")  # (N, C)
    order = ranked[: max(1, round(TOP_SHARE * len(labels)))]  # (T, C)
    chroma, hue = preferred_colour(known.colours, order)
    patches = find_patches(checkpoint, layer, known.split.images, ranked[0], ~dead)
    return LayerFacts(
        layer=layer,
        images=len(labels),
        channels=tuple(
            ChannelFacts(
                channel=number,
                strongest=float(values[:, number].max()),
                dead=bool(dead[number]),
                selectivity=float(selectivity[number]),
                unit_class=count_classes(labels[ranked[:, number]], source.classes)[0][0],
                chroma=float(chroma[number]),
                hue=hue[number],
                frequency=float(known.frequency[order[:, number]].mean()),
                twin=int(twins[number]) if abs(correlation[number]) > REDUNDANT else None,
                correlation=float(correlation[number]),
                best=int(known.places[ranked[0, number]]),
                patch=patches.get(number),
            )
            for number in range(values.shape[1])
        ),
    )


@torch.inference_mode()
def find_patches(
    checkpoint: Checkpoint, layer: str, images: np.ndarray, strongest: np.ndarray, wanted: np.ndarray
) -> dict[int, tuple[int, int, int]]:
    """Channel -> top, left and side of the pixels that the maximum of its map depends on, in its strongest image. They may
    reach past the border, where the network sees zeros. Empty for a layer whose units see the whole image.

    images: (N, H, W, 3) uint8; strongest: (C,) places among them; wanted: (C,) bool.
    """
    card, side = checkpoint.card, images.shape[1]
    model, name = enlarging(checkpoint.model, layer, side, card.image_data.image_size)
    span = spans(model, side).get(name)
    if span is None or span.size >= side or not wanted.any():
        return {}
    network, found = Responses(model, name), {}
    channels = np.flatnonzero(wanted)
    for part in np.array_split(channels, -(-len(channels) // images_at_once(card.model_config, PATCHES_AT_ONCE)) or 1):
        pixels = torch.from_numpy(images[strongest[part]])
        maps = network.maps(normalise(pixels, card))[0][torch.arange(len(part)), torch.from_numpy(part)]  # (n, places)
        width = math.isqrt(maps.shape[1])
        for channel, place in zip(part.tolist(), maps.argmax(1).tolist(), strict=True):
            top, left = (math.ceil(span.first + unit * span.jump) for unit in divmod(place, width))
            found[channel] = (top, left, int(span.size))
    return found


def class_selectivity(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(C,) eta squared of responses (N, C), 0..1."""
    present = np.bincount(labels, minlength=classes)
    sums = np.zeros((classes, values.shape[1]))
    np.add.at(sums, labels, values)
    means = sums / np.maximum(present, 1)[:, None]
    overall = values.mean(0, dtype=np.float64)
    total = ((values - overall) ** 2).sum(0, dtype=np.float64)
    between = (present[:, None] * (means - overall) ** 2).sum(0)
    return np.divide(between, total, out=np.zeros_like(total), where=total > 0)


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
