"""Whole channels taken out of a network, with the rows, columns and norms that depend on them.

Torch-Pruning's dependency graph (Fang et al., DepGraph, arXiv:2301.12900) says what hangs together; which channels go is
decided here, so that counts are exact and no layer ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.compression.methods.child import child_checkpoint
from core.compression.methods.pruning import FIXED
from core.compression.steps import PruneChannels
from core.inference.images import normalise
from core.models import clone_model

MOST_IMAGES = 512
BATCH = 64
MOST_TAKEN = 0.9
"""Share of one layer's channels that a global ranking may take out."""
MULTIPLE = 8
WIDE = 32
"""Layers of at least WIDE channels keep a multiple of MULTIPLE: kernels work on that many at once, the rest is padding."""

Scores = Callable[[Any], Tensor | None]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Channels that can only be taken out together: those of one layer, or of all that a residual connection adds up."""

    name: str
    """The first layer that makes these channels."""
    size: int
    """How many channels there are."""
    root: nn.Module
    deps: Any
    """What torch_pruning found: pairs of a dependency and the indices it concerns."""


class Channels:
    """The groups of channels of one network. It is traced once; `take_out` changes it."""

    def __init__(self, model: nn.Module, image_size: int) -> None:
        import torch_pruning
        from torch_pruning import ops
        from torch_pruning.pruner import function

        if any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in model.modules()):
            raise LabError(
                "Channels of a network with depthwise convolutions cannot be pruned here: prune its weights instead."
            )
        self.model = model
        self._conv, self._linear = (function.PrunerBox[kind] for kind in (ops.OPTYPE.CONV, ops.OPTYPE.LINEAR))
        device = next(model.parameters()).device
        names = {module: name for name, module in model.named_modules()}
        order = list(names.values())
        left = [module for module, name in names.items() if name in FIXED]
        left.append([module for module in names if isinstance(module, nn.Conv2d | nn.Linear)][-1])  # the classifier
        model.requires_grad_(True)  # the graph is read from autograd's
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._graph = torch_pruning.DependencyGraph().build_dependency(
                model,
                example_inputs=torch.zeros(1, 3, image_size, image_size, device=device),
                # A convolution to one channel is no depthwise one, for which its own rule takes it.
                customized_pruners={nn.Conv2d: self._conv},
                verbose=False,
            )
        found = []
        for deps in self._graph.get_all_groups(ignored_layers=left):
            makers = [dep.target.module for dep, _ in deps if self._makes(dep)]
            name = min((names[module] for module in makers), key=order.index)
            found.append(Group(name, len(deps[0][1]), deps[0][0].target.module, deps))
        self.groups: tuple[Group, ...] = tuple(sorted(found, key=lambda group: order.index(group.name)))

    def norms(self, group: Group) -> list[nn.BatchNorm2d]:
        modules = dict.fromkeys(dep.target.module for dep, _ in group.deps)
        return [module for module in modules if isinstance(module, nn.BatchNorm2d)]

    def take_out(self, group: Group, channels: list[int]) -> None:
        """Remove channels of a group, by their numbers, from every layer that makes or reads them. In place."""
        kind = self._conv if isinstance(group.root, nn.Conv2d) else self._linear
        self._graph.get_pruning_group(group.root, kind.prune_out_channels, channels).prune()

    def _makes(self, dep: Any) -> bool:
        return dep.handler in (self._conv.prune_out_channels, self._linear.prune_out_channels)


def prune_channels(
    checkpoint: Checkpoint, step: PruneChannels, images: np.ndarray | None = None, labels: np.ndarray | None = None
) -> Checkpoint:
    """A smaller checkpoint, without the least important channels. The classifier's outputs, the image's three channels and
    a whitening layer stay.

    images: (N, H, W, 3) uint8, labels: (N,) int64, needed for `taylor` only: gradients are taken on up to 512 of them,
    evenly spaced. scope `layer`: the same share of every group of channels; `global`: that share of all channels, the least
    important relative to their group's mean, at most nine tenths of a group. Groups of 32 channels and more keep a multiple
    of 8. Raises LabError for an amount that would leave a layer without channels or that takes none out, and for an
    importance that this network has not.
    """
    if checkpoint.card.task != "images":
        raise LabError("Channels are pruned of networks for images only: prune the weights of this one.")
    model = clone_model(checkpoint.model)
    channels = Channels(model, checkpoint.card.image_data.image_size)
    scores = _scores(channels, step, checkpoint.card, images, labels)
    kept = _kept(scores, step)
    if all(kept[group.name] == group.size for group in scores):
        raise LabError(f"{step.amount:.3g} is too little to take a channel out of this network: choose more.")
    for group, score in scores.items():
        least = score.argsort(stable=True)[: group.size - kept[group.name]]
        if len(least):
            channels.take_out(group, sorted(least.tolist()))
    _check_runs(model, checkpoint.card.image_data.image_size)
    return child_checkpoint(checkpoint, model, step)


@torch.no_grad()
def _check_runs(model: nn.Module, side: int) -> None:
    """Raises LabError for a network that came with numbers of channels written into its graph."""
    try:
        model(torch.zeros(1, 3, side, side, device=next(model.parameters()).device))
    except RuntimeError as error:
        raise LabError(
            "The graph of this network fixes how many channels go from layer to layer: prune its weights instead."
        ) from error


def magnitudes(channels: Channels) -> dict[Group, Tensor]:
    """How large the weights of every channel are, (channels,) a group with mean 1: sums of squares of all that belongs to
    it, averaged over its layers (DepGraph, section 3.3)."""
    import torch_pruning

    return _scored(channels, torch_pruning.importance.GroupMagnitudeImportance(p=2))


def _scores(
    channels: Channels, step: PruneChannels, card: Card, images: np.ndarray | None, labels: np.ndarray | None
) -> dict[Group, Tensor]:
    if step.importance == "taylor":
        return _taylor(channels, card, *_images(card, images, labels))
    if step.importance == "magnitude":
        return magnitudes(channels)
    import torch_pruning

    norms = [norm for group in channels.groups for norm in channels.norms(group)]
    if len(torch.cat([norm.weight.detach() for norm in norms] or [torch.ones(1)]).unique()) == 1:
        raise LabError(
            "This network has no batch-norm scales that differ, so they do not show which channels matter: choose magnitude."
        )
    return _scored(channels, torch_pruning.importance.BNScaleImportance())


def _scored(channels: Channels, importance: Scores) -> dict[Group, Tensor]:
    found = {}
    for group in channels.groups:
        score = importance(group.deps)
        if score is None:  # BN scale, and no batch norm follows: this group stays
            continue
        if not torch.isfinite(score).all():
            raise LabError(f"The importance of the channels of {group.name[:100]} is not a number: choose another one.")
        found[group] = score.detach().cpu()
    return found


def _taylor(channels: Channels, card: Card, pixels: Tensor, labels: Tensor) -> dict[Group, Tensor]:
    """What the loss would lose without a channel, to first order: |weight x gradient| summed over it, batch by batch."""
    import torch_pruning

    importance = torch_pruning.importance.GroupTaylorImportance(normalizer=None)
    device = next(channels.model.parameters()).device
    total: dict[Group, Tensor] = {}
    for start in range(0, len(pixels), BATCH):
        channels.model.zero_grad()
        batch = slice(start, start + BATCH)
        with torch.enable_grad():
            logits = channels.model(normalise(pixels[batch].to(device), card))
            F.cross_entropy(logits, labels[batch].to(device), reduction="sum").backward()
        for group, score in _scored(channels, importance).items():
            total[group] = total.get(group, 0.0) + score
    return {group: score / score.mean().clamp(min=1e-30) for group, score in total.items()}


def _images(card: Card, images: np.ndarray | None, labels: np.ndarray | None) -> tuple[Tensor, Tensor]:
    if images is None or labels is None or not len(images):
        raise LabError("Taylor importance takes gradients on training images, and there are none: choose magnitude.")
    side, classes = card.image_data.image_size, len(card.image_data.classes)
    if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        raise LabError(
            f"Taylor importance needs uint8 images of {side}x{side} pixels with three channels: resize them."
        )
    if len(labels) != len(images) or labels.min() < 0 or labels.max() >= classes:
        raise LabError(f"Taylor importance needs a label from 0 to {classes - 1} for every image: check the labels.")
    chosen = np.linspace(0, len(images) - 1, min(len(images), MOST_IMAGES)).round().astype(int)
    return torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen].astype(np.int64))


def _kept(scores: dict[Group, Tensor], step: PruneChannels) -> dict[str, int]:
    """How many channels of each group stay."""
    if step.scope == "global":
        most = {group: min(group.size - 1, int(MOST_TAKEN * group.size)) for group in scores}
        taken = dict.fromkeys(scores, 0)
        wanted = round(step.amount * sum(group.size for group in scores))
        if wanted > sum(most.values()):
            raise LabError(
                f"{step.amount:.0%} of the channels cannot go, for each layer keeps at least a tenth of its own: choose less."
            )
        owners = [group for group in scores for _ in range(group.size)]
        for place in torch.cat(list(scores.values())).argsort(stable=True).tolist():
            if not wanted:
                break
            if taken[owners[place]] < most[owners[place]]:
                taken[owners[place]] += 1
                wanted -= 1
    else:
        taken = {group: round(step.amount * group.size) for group in scores}
    for group, count in taken.items():
        if count >= group.size:
            raise LabError(
                f"Without {step.amount:.0%} of its {group.size} channels, {group.name[:100]} would have none left: choose less."
            )
    return {group.name: _rounded(group.size, group.size - count) for group, count in taken.items()}


def _rounded(size: int, kept: int) -> int:
    if size < WIDE:
        return kept
    return min(size, max(MULTIPLE, round(kept / MULTIPLE) * MULTIPLE))
