"""From a unit to the classes: what the head's weights make of it, and which classes fall when it is held still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress, no_progress
from core.common.values import signed
from core.compression.measuring.significance import paired_interval
from core.data.dataset import Split
from core.data.splits import subset
from core.features.source import source_of
from core.features.units import Layer, find_layer, layers_of, real_images, responses_of
from core.inference.images import normalise
from core.models import clone_model, head_name, images_at_once

ABLATION_IMAGES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassEffect:
    """What a class loses when the unit is held at its mean."""

    label: str
    images: int
    before: float
    after: float
    """Accuracy, 0..1."""
    interval_points: tuple[float, float]
    """95% interval of after - before, percentage points; such intervals hold for all classes at once."""
    contribution: float | None
    """The unit's mean contribution to the logit, less its mean over classes; None where layers stand between."""

    @property
    def points(self) -> float:
        return 100 * (self.after - self.before)

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        low, high = self.interval_points
        return not low <= 0 <= high


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    layer: str
    channel: int
    images: int
    """Of the accuracy."""
    mean_over: int
    """Images that the mean is taken over, among them those of the accuracy."""
    before: float
    after: float
    classes: tuple[ClassEffect, ...]

    @property
    def answer(self) -> str:
        """The largest fall of those that are sure, in a sentence: a larger one of a class with few images may be chance."""
        falls = [item for item in self.classes if item.sure and item.points < 0]
        if not falls:
            return f"Without this unit no class falls for certain on {self.images:,} test images"
        worst = min(falls, key=lambda item: item.points)
        low, high = worst.interval_points
        return f"Without this unit, {worst.label} falls by {-worst.points:.1f} points ({signed(low)} to {signed(high)})"


def ablate(
    checkpoint: Checkpoint, layer: str, channel: int, test: Split, *, on_progress: Progress = no_progress
) -> Ablation:
    """Hold a channel at its mean over images and space, and count right answers by class, one view of each image in float32.

    Raises LabError for a layer or channel that there is not, and for a class.
    """
    found = find_layer(checkpoint, layer, channel)
    source = source_of(checkpoint.card)
    if source.foreign:
        raise LabError("Accuracy needs test images of the network's own classes, and those are not here.")
    if found.classes:
        raise LabError("A class is the answer itself and cannot be left out: choose a channel.")
    _, shown = real_images(test, source.most)
    mean = float(responses_of(checkpoint.model, checkpoint.card, layer, shown, on_progress)[:, channel].mean())
    part = subset(test, min(ABLATION_IMAGES, len(test)), 0)
    before, features = _answers(checkpoint, part, None, lambda share, words: on_progress(share / 2, words))
    after, _ = _answers(
        checkpoint, part, (found, channel, mean), lambda share, words: on_progress(0.5 + share / 2, words)
    )
    right = [answers == part.labels for answers in (before, after)]
    names = checkpoint.card.image_data.classes
    contributions = _contributions(checkpoint, found, channel, features)
    return Ablation(
        layer=layer,
        channel=channel,
        images=len(part),
        mean_over=len(shown),
        before=float(right[0].mean()),
        after=float(right[1].mean()),
        classes=tuple(
            _effect(
                name,
                right[0][part.labels == label],
                right[1][part.labels == label],
                None if contributions is None else float(contributions[label]),
                len(names),
            )
            for label, name in enumerate(names)
            if (part.labels == label).any()
        ),
    )


def _effect(label: str, before: np.ndarray, after: np.ndarray, contribution: float | None, classes: int) -> ClassEffect:
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    from scipy import special

    z = float(special.ndtri(1 - (1 - 0.95 ** (1 / classes)) / 2))  # Šidák: all classes at once
    return ClassEffect(
        label=label,
        images=len(before),
        before=float(before.mean()),
        after=float(after.mean()),
        interval_points=paired_interval(lost, gained, len(before), z),
        contribution=contribution,
    )


@torch.inference_mode()
def _answers(
    checkpoint: Checkpoint, part: Split, held: tuple[Layer, int, float] | None, on_progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) predicted classes, and (F,) the mean of what the head gets; held: a channel that stays at a value."""
    model = clone_model(checkpoint.model)
    if held is not None:
        layer, channel, value = held

        def hold(module: Any, inputs: Any, output: Tensor) -> Tensor:
            changed = output.clone()
            changed[(slice(None), channel) if output.ndim == 4 else (..., channel)] = value
            return changed

        model.get_submodule(layer.name).register_forward_hook(hold)
    seen: list[Tensor] = []
    model.get_submodule(head_name(model)).register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].sum(0))
    )
    size, found = images_at_once(checkpoint.card.model_config, 250), []
    for start in range(0, len(part), size):
        pixels = torch.from_numpy(np.ascontiguousarray(part.images[start : start + size]))
        found.append(model(normalise(pixels, checkpoint.card)).argmax(1).numpy())
        on_progress(min(1.0, (start + size) / len(part)), "answering test images")
    return np.concatenate(found), (torch.stack(seen).sum(0) / len(part)).numpy()


def _contributions(checkpoint: Checkpoint, layer: Layer, channel: int, features: np.ndarray) -> np.ndarray | None:
    """(classes,) head's weights of a channel times what the head gets of it on average, less the mean over classes; None
    unless the layer is the last that computes before the head."""
    model, layers = checkpoint.model, layers_of(checkpoint)
    after = layers[[item.name for item in layers].index(layer.name) + 1 :]
    head = model.get_submodule(head_name(model))
    weights: np.ndarray = head.get_parameter("weight").detach().cpu().numpy()
    last = layers[-2]  # what the head gets is that, flattened
    if (
        any(not item.classes and "Pool" not in item.kind for item in after)
        or last.channels * last.places != weights.shape[1]
    ):
        return None
    by_channel = weights.reshape(len(weights), layer.channels, -1)[:, channel]  # (classes, places)
    found = by_channel @ features.reshape(layer.channels, -1)[channel]
    return np.asarray(found - found.mean())
