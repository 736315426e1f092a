"""Units: their optimised images, the real images at both ends, and what is left under changes that should not matter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from core.checkpoints.packing import dequantize, quantize_per_channel
from core.checkpoints.store import Card, Checkpoint
from core.common.pixels import from_png
from core.common.progress import Progress, no_progress
from core.compression.methods.pruning import apply_masks, magnitude_masks
from core.data.dataset import ImageCard, Split
from core.data.splits import subset
from core.features.config import STEPS
from core.features.optimise import optimise
from core.features.results import CHANGES, SHOWN, Control, Unit, encode_image
from core.features.source import source_of
from core.features.units import Layer, Responses, enlarging, find_layer, random_twin, real_images, responses_of
from core.inference.images import normalise
from core.models import clone_model, images_at_once

TOP = 100
"""Images whose classes are counted."""
PRUNED = 0.5
RANDOM_IMAGES = 1_000
"""Real images that a network of random weights is shown."""
DIVERSE = 4
LARGEST_SHARP = 128
"""Pixels; larger images are drawn at half the size, which leaves out the finest noise, and enlarged."""
UNITS_AT_ONCE = 8
GRADIENTS = 8
"""Images that take the memory of one unit in optimisation: two seeds, with gradients."""
CONSTANT = 1e-6
"""Spread of the responses of a dead unit, at most, as a share of their size."""


def study_unit(checkpoint: Checkpoint, layer: str, channel: int, test: Split, **options: Any) -> Unit:
    """`study_units` of one channel."""
    return next(study_units(checkpoint, layer, [channel], test, **options))


def study_units(
    checkpoint: Checkpoint,
    layer: str,
    channels: Sequence[int],
    test: Split,
    *,
    steps: int = STEPS,
    seed: int = 0,
    diverse: bool = False,
    on_progress: Progress = no_progress,
) -> Iterator[Unit]:
    """Units in order, several optimised at once. on_progress: of all of them.

    Raises LabError for a layer or channel that there is not. test: images of `source_of(card)` with their labels.
    """
    found, card, model = find_layer(checkpoint, layer, max(channels)), checkpoint.card, checkpoint.model
    source = source_of(card)
    places, split = real_images(test, source.most)

    def stage(start: float, end: float) -> Progress:
        return lambda share, words: on_progress(start + share * (end - start), words)

    values = responses_of(model, card, layer, split, stage(0.0, 0.2))
    other, few = random_twin(model, seed), subset(split, RANDOM_IMAGES, 0)
    usual = responses_of(other, card, layer, few, stage(0.2, 0.25)).max(0)
    side = card.image_data.image_size
    drawn = dataclasses.replace(card.image_data, image_size=side if side <= LARGEST_SHARP else side // 2)

    def see(twin: nn.Module) -> Responses:
        return Responses(*enlarging(twin, layer, drawn.image_size, side))

    network, blank, int8, pruned = see(model), see(other), see(round_to_int8(model)), see(prune(model))
    climb = partial(optimise, data=drawn, steps=steps)
    size = max(1, images_at_once(card.model_config, GRADIENTS * UNITS_AT_ONCE) // GRADIENTS)
    for start in range(0, len(channels), size):
        part = list(channels[start : start + size])
        seeds, n = [seed] * len(part), len(part)
        at, middle, end = (0.25 + 0.75 * (start + share * n) / len(channels) for share in (0, 0.65, 1))
        images = climb(
            network, channels=part * 2, seeds=[*seeds, *(each + 1 for each in seeds)], on_progress=stage(at, middle)
        )
        kept = [encode_image(image) for image in images]
        kept_random = [
            encode_image(image) for image in climb(blank, channels=part, seeds=seeds, on_progress=stage(middle, end))
        ]
        reached, random = respond(network, card, kept, part * 2), respond(blank, card, kept_random, part)
        changed = dict(
            zip(
                CHANGES,
                (reached[n:], respond(int8, card, kept[:n], part), respond(pruned, card, kept[:n], part)),
                strict=True,
            )
        )
        for place, channel in enumerate(part):
            column, response = values[:, channel], reached[place]
            order = np.argsort(-column, kind="stable")
            most, least = order[:SHOWN], order[::-1][:SHOWN]
            four = range(seed + 2, seed + 2 + DIVERSE)
            varied = climb(network, channels=[channel] * DIVERSE, seeds=four, diverse=True) if diverse else ()
            yield Unit(
                layer=layer,
                channel=channel,
                title=title_of(found, channel, card.image_data),
                steps=steps,
                seed=seed,
                image=kept[place],
                response=response,
                diverse=tuple(encode_image(image) for image in varied),
                images=len(split),
                strongest=float(column.max()),
                dead=bool(dead_units(column[:, None], found)[0]),
                most=tuple(map(int, places[most])),
                least=tuple(map(int, places[least])),
                most_responses=tuple(map(float, column[most])),
                least_responses=tuple(map(float, column[least])),
                top_classes=count_classes(split.labels[order], source.classes),
                survival={name: each[place] / response for name, each in changed.items()} if response > 0 else None,
                random=Control(
                    image=kept_random[place],
                    response=random[place],
                    strongest=float(usual[channel]),
                    images=len(few),
                ),
            )


def title_of(layer: Layer, channel: int, data: ImageCard) -> str:
    return f"The class {data.classes[channel]}" if layer.classes else f"Channel {channel} of {layer.name}"


def dead_units(responses: np.ndarray, layer: Layer) -> np.ndarray:
    """(C,) bool of responses (N, C): never above 0 after a ReLU; elsewhere the same for all images."""
    if layer.rectified:
        return np.asarray(responses.max(0) <= 0)
    return np.asarray(np.ptp(responses, axis=0) <= CONSTANT * np.abs(responses).max(0))


def count_classes(labels: np.ndarray, classes: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Classes of a unit's 100 strongest images with how many there are, most first: the first one is the unit's class.
    labels: (N,), strongest image first."""
    counts = np.bincount(labels[:TOP], minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    return tuple((classes[place], int(counts[place])) for place in order if counts[place])


@torch.inference_mode()
def respond(network: Responses, card: Card, images: Sequence[str], channels: Sequence[int]) -> list[float]:
    """The response of a unit to each of some images as results keep them."""
    pixels = torch.from_numpy(np.stack([from_png(image) for image in images]))
    found = network(normalise(pixels, card))
    return [float(value) for value in found[torch.arange(len(images)), torch.tensor(list(channels))]]


def round_to_int8(model: nn.Module) -> nn.Module:
    """A copy whose weights are at the nearest of 255 values, with a scale for each output, as int8 stores them."""
    twin: nn.Module = clone_model(model)
    for weight in twin.parameters():
        if weight.ndim >= 2:
            weight.copy_(torch.from_numpy(dequantize(*quantize_per_channel(weight.cpu().float().numpy()))))
    return twin


def prune(model: nn.Module) -> nn.Module:
    """A copy whose smaller half of the weights is zero."""
    twin: nn.Module = clone_model(model)
    apply_masks(twin, magnitude_masks(twin, PRUNED))
    return twin
