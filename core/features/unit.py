"""One unit: its optimised image, the real images at both ends, and what is left of it under changes that should not matter."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn

from core.checkpoints.packing import dequantize, quantize_per_channel
from core.checkpoints.store import Checkpoint
from core.common.progress import Progress, no_progress
from core.compression.methods.pruning import apply_masks, magnitude_masks
from core.data.dataset import ImageCard, Split
from core.data.splits import subset
from core.features.config import STEPS
from core.features.optimise import optimise
from core.features.results import SHOWN, Control, Unit, to_png
from core.features.units import Layer, Responses, find_layer, random_twin, real_images, responses_of
from core.inference.images import normalise
from core.models import clone_model

TOP = 100
"""Images whose classes are counted."""
PRUNED = 0.5
RANDOM_IMAGES = 1_000
"""Real images that a network of random weights is shown."""
DIVERSE = 4
CONSTANT = 1e-6
"""Spread of the responses of a dead unit, at most, as a share of their size."""


def study_unit(
    checkpoint: Checkpoint,
    layer: str,
    channel: int,
    test: Split,
    *,
    steps: int = STEPS,
    seed: int = 0,
    diverse: bool = False,
    on_progress: Progress = no_progress,
) -> Unit:
    """Raises LabError for a layer or channel that there is not. test: images with their labels."""
    found, data, model = find_layer(checkpoint, layer, channel), checkpoint.card.image_data, checkpoint.model
    places, split = real_images(test)
    column = responses_of(model, checkpoint.card, layer, split, lambda share, words: on_progress(0.4 * share, words))[
        :, channel
    ]
    order = np.argsort(-column, kind="stable")
    most, least = order[:SHOWN], order[::-1][:SHOWN]
    network, other = Responses(model, layer), random_twin(model, seed)

    def stage(start: float, end: float) -> Progress:
        return lambda share, words: on_progress(start + share * (end - start), words)

    climb = partial(optimise, network, data, steps=steps, on_progress=stage(0.4, 0.7))
    made = climb([channel] * 2, [seed, seed + 1])
    varied = climb([channel] * DIVERSE, range(seed + 2, seed + 2 + DIVERSE), diverse=True) if diverse else ()
    blank = Responses(other, layer)
    unlearned = optimise(blank, data, [channel], [seed], steps=steps, on_progress=stage(0.7, 0.9))
    few = subset(split, RANDOM_IMAGES, 0)
    usual = responses_of(other, checkpoint.card, layer, few, stage(0.9, 1.0))[:, channel]
    first, second = (respond(network, checkpoint, image, channel) for image in made)
    changed = {"int8": round_to_int8(model), "pruned": prune(model)}
    left = {name: respond(Responses(twin, layer), checkpoint, made[0], channel) for name, twin in changed.items()}
    return Unit(
        layer=layer,
        channel=channel,
        title=title_of(found, channel, data),
        steps=steps,
        seed=seed,
        image=to_png(made[0]),
        response=first,
        diverse=tuple(to_png(image) for image in varied),
        images=len(split),
        strongest=float(column.max()),
        dead=bool(dead_units(column[:, None], found)[0]),
        most=tuple(map(int, places[most])),
        least=tuple(map(int, places[least])),
        most_responses=tuple(map(float, column[most])),
        least_responses=tuple(map(float, column[least])),
        top_classes=count_classes(split.labels[order[:TOP]], data),
        survival={name: value / first for name, value in ({"seed": second} | left).items()} if first > 0 else None,
        random=Control(
            image=to_png(unlearned[0]),
            response=respond(blank, checkpoint, unlearned[0], channel),
            strongest=float(usual.max()),
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


def count_classes(labels: np.ndarray, data: ImageCard) -> tuple[tuple[str, int], ...]:
    """Classes with how many of the labels they have, most first; those that are there."""
    counts = np.bincount(labels, minlength=len(data.classes))
    order = np.argsort(-counts, kind="stable")
    return tuple((data.classes[place], int(counts[place])) for place in order if counts[place])


@torch.inference_mode()
def respond(network: Responses, checkpoint: Checkpoint, rgb: np.ndarray, channel: int) -> float:
    """The response of a unit to an image (H, W, 3) uint8."""
    return float(network(normalise(torch.from_numpy(rgb[None].copy()), checkpoint.card))[0, channel])


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
