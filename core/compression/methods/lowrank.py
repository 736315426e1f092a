"""Two thin layers in the place of one, from the singular value decomposition of its weights (Denton et al., arXiv:1404.0736)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.compression.methods.child import child_checkpoint
from core.compression.methods.pruning import FIXED
from core.compression.steps import LowRank
from core.models import LAYERS, clone_model
from core.models.surgery import apply_changes

SMALLEST = 32
"""Layers with fewer outputs, or fewer inputs to an output, are left as they are: two calls would cost more than is saved."""


@torch.no_grad()
def factorise(checkpoint: Checkpoint, step: LowRank) -> Checkpoint:
    """A checkpoint with factors in the place of each convolution (k x k to `rank` channels, then 1 x 1) and linear layer
    that they take fewer multiply-adds than; a layer that is in factors already stays so. Raises LabError where there is none.
    """
    model = clone_model(checkpoint.model)
    # Factors already, or matrices of an attention layer that lost heads, whose card has no place for a rank.
    changed = checkpoint.card.model_config.get(LAYERS, {})
    done = {name for name, change in changed.items() if change.get("rank") or change.get("heads")}
    found = False
    for name, layer in list(model.named_modules()):
        if name in FIXED or name.rpartition(".")[0] in done or not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        factors = _factors(name, layer.weight.flatten(1), step.energy)
        if factors is None:
            continue
        second, first = factors
        apply_changes(model, {name: {"rank": len(first)}})
        pair = model.get_submodule(name)
        for key, value in {"0.weight": first, "1.weight": second, "1.bias": layer.bias}.items():
            if value is not None:
                parameter = pair.get_parameter(key)
                parameter.copy_(value.view(parameter.shape))
        found = True
    if not found:
        raise LabError(
            f"No layer has fewer multiply-adds in factors that keep {step.energy:.6g} of its energy: choose less than that."
        )
    return child_checkpoint(checkpoint, model, step)


def rank_of(singular: Tensor, energy: float) -> int:
    """How many singular values, descending, it takes to have that share of the sum of their squares; at least 1."""
    shares = singular.square().cumsum(0)
    return min(len(singular), int((shares < energy * shares[-1]).sum()) + 1)


def _factors(name: str, weight: Tensor, energy: float) -> tuple[Tensor, Tensor] | None:
    """(outputs, rank) and (rank, inputs), float64, whose product is nearest to the weight (outputs, inputs); None where they
    take no fewer multiply-adds. Both get the root of the singular values, so that neither's range is wide.
    """
    outputs, inputs = weight.shape
    if min(outputs, inputs) < SMALLEST:
        return None
    matrix = weight.detach().cpu().double()
    if not torch.isfinite(matrix).all():
        raise LabError(f"{name[:100]} holds values that are not numbers: this network cannot be factorised.")
    wide = inputs >= outputs
    # The eigenvectors of the smaller product are the singular vectors of that side, many times sooner than all of them.
    values, vectors = torch.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
    singular, vectors = values.flip(0).clamp(min=0).sqrt(), vectors.flip(1)
    rank = rank_of(singular, energy)
    if rank * (outputs + inputs) >= outputs * inputs:
        return None
    basis, root = vectors[:, :rank], singular[:rank].sqrt()
    root[root == 0] = 1.0
    if wide:
        return basis * root, (basis.T @ matrix) / root[:, None]
    return (matrix @ basis) / root, root[:, None] * basis.T
