"""Single weights set to zero, the smallest first (Han et al., arXiv:1506.02626); and storage that changes little or nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.values import finite
from core.compression.methods.child import child_checkpoint
from core.compression.steps import SCOPES, Float16, HuffmanCode, PruneWeights
from core.models import clone_model

FIXED = ("whiten",)
"""Layers that are set from the data and not trained (core.models.fast_resnet): nothing is taken out of them."""
END_SHARE = 0.7
"""Share of the steps after which gradual pruning has reached its amount."""
LEAST_KEPT = 0.01
"""Share of every layer that a global cut leaves, so that it cannot end a layer."""


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that may be pruned, by name, in the network's order: those of convolutions, linear and recurrent layers.

    Left out: embeddings (their rows are looked up, and each matters to one character), norms, biases, and the whitening
    layer.
    """
    found: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        if name in FIXED or not isinstance(module, nn.Conv2d | nn.Linear | nn.RNNBase):
            continue
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.ndim >= 2:
                found[f"{name}.{key}" if name else key] = parameter
    return found


@torch.no_grad()
def magnitude_masks(model: nn.Module, amount: float, scope: str = "global") -> dict[str, Tensor]:
    """Which weights stay (True), by name, each of its weight's shape: all but the smallest `amount` (0 to below 1) of them.

    scope: `layer` prunes that share of each tensor; `global` of all of them together, but leaves every tensor its largest
    hundredth (or 1 - amount, where that is less). One weight of a tensor always stays. Counts are exact, and of weights that
    are equally small the earlier go. Raises LabError for an amount or scope that is not valid, and for weights that are not
    numbers.
    """
    if not finite(amount) or not 0 <= amount < 1:
        raise LabError(f"amount={repr(amount)[:60]} is not valid for pruning weights: it must be from 0 to below 1.")
    if scope not in SCOPES:
        raise LabError(f"scope={repr(scope)[:60]} is not valid: it must be one of {', '.join(SCOPES)}.")
    weights = prunable(model)
    sizes = {name: weight.detach().abs().float().flatten().cpu() for name, weight in weights.items()}
    for name, size in sizes.items():
        if not torch.isfinite(size).all():
            raise LabError(f"{name[:100]} holds values that are not numbers: this network cannot be pruned.")
    if scope == "layer":
        masks = [_largest(size, min(round(amount * len(size)), len(size) - 1)) for size in sizes.values()]
    else:
        for size in sizes.values():
            kept = max(1, int(min(LEAST_KEPT, 1 - amount) * len(size)))
            size[_largest(size, len(size) - kept)] = torch.inf
        flat = torch.cat(list(sizes.values())) if sizes else torch.empty(0)
        pruned = min(round(amount * len(flat)), int(torch.isfinite(flat).sum()))
        masks = list(_largest(flat, pruned).split([len(size) for size in sizes.values()]))
    return {name: mask.view(weight.shape).to(weight.device) for (name, weight), mask in zip(weights.items(), masks)}


@torch.no_grad()
def apply_masks(model: nn.Module, masks: dict[str, Tensor]) -> None:
    """Set to zero, in place, what the masks do not keep. masks: by the names of `prunable`, True = kept."""
    weights = prunable(model)
    for name, mask in masks.items():
        weights[name].masked_fill_(~mask, 0.0)  # a product would leave -0.0 behind


@torch.no_grad()
def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """Masks of what is not zero now: training that applies them after each step leaves every zero where it is."""
    return {name: weight != 0 for name, weight in prunable(model).items()}


def cubic_amount(step: int, total_steps: int, final: float) -> float:
    """Share of the weights that are zero at a step of training: fast at first, slower near the end.

    Reaches `final` after END_SHARE of the steps, so that the rest of them train what is left. Source: Zhu & Gupta,
    arXiv:1710.01878, equation 1.
    """
    done = min(1.0, step / max(1.0, END_SHARE * total_steps))
    return final - final * (1 - done) ** 3


def prune_weights(checkpoint: Checkpoint, step: PruneWeights) -> Checkpoint:
    """A checkpoint whose smallest weights are zero. Raises LabError as `magnitude_masks` does."""
    model = clone_model(checkpoint.model)
    apply_masks(model, magnitude_masks(model, step.amount, step.scope))
    return child_checkpoint(checkpoint, model, step)


@torch.no_grad()
def half(checkpoint: Checkpoint, step: Float16) -> Checkpoint:
    """A checkpoint that is stored in float16, its values rounded to it, so that what is measured is what the file holds."""
    model = clone_model(checkpoint.model)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(in_half(tensor))
    return child_checkpoint(checkpoint, model, step, storage="float16")


def code(checkpoint: Checkpoint, step: HuffmanCode) -> Checkpoint:
    """The same network, to be stored coded; the weights stay as they are (core.checkpoints.packing writes them)."""
    return child_checkpoint(checkpoint, clone_model(checkpoint.model), step, storage="coded")


def in_half(tensor: Tensor) -> Tensor:
    """The nearest float16 values, in the tensor's own type; the tensor itself where a value is beyond 65,504, their largest,
    as such a tensor is stored in float32 (core.checkpoints.packing)."""
    rounded = tensor.half().to(tensor.dtype)
    return tensor if bool((rounded.isinf() & tensor.isfinite()).any()) else rounded


def _largest(size: Tensor, dropped: int) -> Tensor:
    """(N,) to a mask (N,) that is False at the `dropped` smallest, the earlier ones first among equals."""
    kept = torch.ones(len(size), dtype=torch.bool)
    if dropped <= 0:
        return kept
    limit = size.kthvalue(dropped).values
    kept[size < limit] = False
    equal = (size == limit).nonzero().flatten()
    kept[equal[: dropped - int((~kept).sum())]] = False
    return kept
