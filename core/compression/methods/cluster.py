"""Few values for many weights: k-means in one dimension (Han et al., Deep Compression, arXiv:1510.00149, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from core.checkpoints.store import Checkpoint
from core.compression.methods.child import child_checkpoint
from core.compression.methods.pruning import FIXED, in_half
from core.compression.steps import Cluster
from core.models import clone_model

MOST_ROUNDS = 200


@torch.no_grad()
def cluster(checkpoint: Checkpoint, step: Cluster) -> Checkpoint:
    """A checkpoint each of whose weight tensors (two or more dimensions, embeddings too) has at most 2^bits values.

    These values, biases and norms are float16 numbers, so that the file may hold them in 16 bits. So is the whitening layer,
    which keeps all of its values: it has few, and its small ones, far below the largest, are what it is made of.
    """
    model = clone_model(checkpoint.model)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        unclustered = tensor.ndim < 2 or name.rpartition(".")[0] in FIXED
        tensor.copy_(in_half(tensor) if unclustered else clustered(tensor, 2**step.bits))
    return child_checkpoint(checkpoint, model, step, storage="clustered")


def clustered(tensor: Tensor, values: int) -> Tensor:
    """A tensor with each number put to the nearest of at most `values` float16 numbers.

    Where the tensor has zeros, one of the values is zero and holds just those; k-means finds the others.
    """
    flat = tensor.detach().cpu().double().flatten()
    weights = flat[flat != 0]
    count = values - 1 if len(weights) < len(flat) else values
    if not len(weights):
        return tensor.clone()
    codebook = in_half(_codebook(weights.sort().values, count)).unique()
    flat[flat != 0] = codebook[torch.bucketize(weights, _borders(codebook))]
    return flat.view(tensor.shape).to(tensor.device, tensor.dtype)


def _codebook(weights: Tensor, count: int) -> Tensor:
    """Lloyd's algorithm on sorted weights (N,): at most `count` centres, ascending.

    Centres start evenly spaced from the smallest to the largest weight, which keeps the large ones (section 3.2). A cluster
    of sorted numbers is a stretch of them, so its mean is a difference of running sums.
    """
    different = weights.unique_consecutive()
    if len(different) <= count:
        return different
    centres = torch.linspace(float(weights[0]), float(weights[-1]), count, dtype=torch.float64)
    sums = torch.cat([weights.new_zeros(1), weights.cumsum(0)])
    for _ in range(MOST_ROUNDS):
        inner = torch.searchsorted(weights, _borders(centres))
        ends = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(weights))])
        sizes = ends.diff()
        means = torch.where(sizes > 0, sums[ends].diff() / sizes.clamp(min=1), centres)
        if torch.equal(means, centres):
            break
        centres = means
    return centres


def _borders(centres: Tensor) -> Tensor:
    return (centres[1:] + centres[:-1]) / 2
