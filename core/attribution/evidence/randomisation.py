"""Does the map depend on what was learned? The weights are shuffled, layer by layer from the classifier down.

Source: the cascading randomisation of Adebayo et al., arXiv:1810.03292, with each tensor's own values shuffled instead of
drawn anew.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.attribution.baselines import DEFAULT_BASELINE
from core.attribution.evidence.similarity import rank_correlation
from core.attribution.explainer import Explainer
from core.attribution.method import Method, Progress, no_progress
from core.common.errors import LabError

SAME = 0.7
"""Rank correlation from which on a map counts as still the same: half of the variance of its ranks is in both."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RandomisedLayers:
    """The map of a network some of whose layers are shuffled, beside that of the network as it was trained.

    Both likenesses are of absolute values: which pixels stand out, whether for the class or against it.
    """

    layers: tuple[str, ...]
    """Convolutions and linear layers that are shuffled, the classifier first, each with the batch norm after it."""
    values: np.ndarray
    """(H, W) float32: the map."""
    rank_correlation: float
    """Spearman's, -1..1; 0 where this map is the same everywhere."""
    ssim: float
    """Structural similarity, -1..1, of the maps scaled to 0..1 each by its own range; windows of 7x7 pixels."""


def randomise(
    explainer: Explainer,
    method: Method,
    pixels: np.ndarray,
    target: int,
    *,
    baseline: str = DEFAULT_BASELINE,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> Iterator[RandomisedLayers]:
    """The maps as one layer after another is shuffled; the first with none, the last with all. Works on copies.

    pixels: (H, W, 3) uint8. seed: of the shuffling and of random methods, which draw the same numbers for each map. Raises
    LabError as `Explainer.attribute` does, and where the map that all are compared with is the same everywhere.
    """
    checkpoint = explainer.checkpoint
    checkpoint.check_layers()
    total = 1 + len(layers_of(checkpoint.model))
    original: np.ndarray | None = None
    for layers, model in cascade(checkpoint.model, seed):
        done = len(layers)

        def within(share: float, done: int = done) -> None:
            on_progress((done + share) / total)

        attribution = Explainer(dataclasses.replace(checkpoint, model=model)).attribute(
            method, pixels, target, baseline=baseline, seed=seed, on_progress=within
        )
        within(1.0)
        values = attribution.pixels
        if original is None:
            original = np.abs(values)
            if np.ptp(original) == 0:
                raise LabError(
                    f"{method.title} gives every pixel the same here, so there is no map that could change: "
                    "choose another method, class or image."
                )
        yield RandomisedLayers(
            layers=layers,
            values=values,
            rank_correlation=rank_correlation(original, np.abs(values)) if layers else 1.0,
            ssim=_ssim(original, np.abs(values)) if layers else 1.0,
        )


def cascade(model: nn.Module, seed: int) -> Iterator[tuple[tuple[str, ...], nn.Module]]:
    """(names of the layers that are shuffled, network), from none to all; the network is one copy, changed each time.

    The values of each weight and bias trade places within it. A batch norm goes with the layer before it, as one map of
    the two, and its channels trade places as a whole: a scale apart from its running variance could blow up.
    """
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    shuffled: tuple[str, ...] = ()
    yield shuffled, model
    for name, modules in reversed(layers_of(model)):
        for module in modules:
            _shuffle(module, generator)
        shuffled = (*shuffled, name)
        yield shuffled, model


def randomisation_words(items: Sequence[RandomisedLayers]) -> str:
    """What a whole cascade says of the map, one sentence. A map is the same from a rank correlation of SAME on."""
    last = items[-1]
    every = len(last.layers)
    if last.rank_correlation >= SAME:
        return (
            f"With the weights of all {every} layers shuffled the map is still much the same (rank correlation "
            f"{last.rank_correlation:.2f}): it shows the image more than the network."
        )
    changed = next(item for item in items if item.rank_correlation < SAME)  # later likeness of a coarse map is chance
    kept = len(changed.layers) - 1
    figures = f"rank correlation {changed.rank_correlation:.2f}, with all {every} layers {last.rank_correlation:.2f}"
    figures = figures.replace("-", "−")
    if kept == 0:
        return f"The map changes as soon as the classifier is shuffled ({figures}): it depends on what was learned."
    return (
        f"The map is still much the same with {kept} of {every} layers shuffled from the classifier down, and changes with "
        f"{changed.layers[-1]} ({figures}): it depends on what was learned, but little on the layers after that."
    )


def layers_of(model: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """Convolutions and linear layers with the batch norms that follow each, in the order of the network's definition."""
    found: list[tuple[str, list[nn.Module]]] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and found:
            found[-1][1].append(module)
        elif isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            found.append((name, [module]))
    return found


@torch.no_grad()
def _shuffle(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, nn.BatchNorm2d):
        order = torch.randperm(module.num_features, generator=generator)
        for values in (module.weight, module.bias, module.running_mean, module.running_var):
            if values is not None:
                values.copy_(values[order.to(values.device)])
        return
    for values in module.parameters(recurse=False):
        order = torch.randperm(values.numel(), generator=generator)
        values.copy_(values.flatten()[order.to(values.device)].view(values.shape))


def _ssim(one: np.ndarray, other: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    return float(structural_similarity(_scaled(one), _scaled(other), win_size=7, data_range=1.0))


def _scaled(values: np.ndarray) -> np.ndarray:
    spread = np.ptp(values)
    return (values - values.min()) / spread if spread > 0 else np.zeros_like(values)
