"""A plane through the loss of a network, with the path of its training projected into it.

Source: Li et al., "Visualizing the Loss Landscape of Neural Nets", arXiv:1712.09913: random directions whose filters are as
long as the network's own, or the principal directions of the path.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.common.errors import LabError
from core.descent.network import NetworkLoss

CHUNK, BATCH_NORM_CHUNK = 50, 250
"""Images that go through the network together. A processor's cache holds 50: Simple CNN takes 0.04 s for 500 images that way,
and 0.09 s in chunks of 250, on a core. Batch-norm needs more for its averages. Large images go in smaller chunks."""
MARGIN = 0.25
"""Of the path's length, around it."""
BLOCK = 1 << 18
"""Weights of all snapshots that are in double precision together, which bounds memory."""


def random_directions(loss: NetworkLoss, seed: int) -> Tensor:
    """(2, n) of length as described above: each filter of a convolution, and each row of a linear layer, is as long as the
    network's own; biases and batch-norm, which have no filters, do not move."""
    found = []
    random = torch.Generator().manual_seed(seed)
    for _ in range(2):
        pieces = []
        for weight in loss.weights:
            own = weight.detach()
            drawn = torch.randn(own.shape, generator=random).to(own)
            if own.ndim < 2:
                pieces.append(torch.zeros_like(own).reshape(-1))
                continue
            rows, size = drawn.reshape(len(own), -1), own.reshape(len(own), -1)
            rows = rows / (rows.norm(dim=1, keepdim=True) + 1e-10) * size.norm(dim=1, keepdim=True)
            pieces.append(rows.reshape(-1))
        found.append(torch.cat(pieces))
    return torch.stack(found)


def path_directions(moves: Tensor) -> Tensor:
    """(2, n) orthogonal, of one length: the principal directions of a path, the longest way of which is 1.

    moves: (m, n) the snapshots less the last one. Raises LabError for fewer than two that differ.
    """
    if len(moves) < 2:
        raise LabError("This run kept no snapshots: train one with snapshots, or choose random directions.")
    gram = torch.zeros(len(moves), len(moves), dtype=torch.float64, device=moves.device)
    for part in moves.split(BLOCK, 1):
        gram += part.double() @ part.double().T
    squares, axes = torch.linalg.eigh(gram)
    squares, axes = squares[-2:].flip(0).clamp(min=0), axes[:, -2:].flip(1)
    if not squares[1] > 1e-12 * squares[0]:
        raise LabError("The snapshots of this run lie on one line: choose random directions.")
    strengths = squares.sqrt()
    mixture = (axes / strengths).T * (axes * strengths).abs().max()
    return torch.cat([(mixture @ part.double()).to(moves.dtype) for part in moves.split(BLOCK, 1)], 1)


def project(moves: Tensor, directions: Tensor) -> tuple[Tensor, float]:
    """Coordinates (m, 2) of the nearest points in the plane, and the share of the squared movement that lies in it."""
    parts = [slice(begin, begin + BLOCK) for begin in range(0, moves.shape[1], BLOCK)]
    gram = torch.zeros(2, 2, dtype=torch.float64, device=moves.device)
    shadows = torch.zeros(2, len(moves), dtype=torch.float64, device=moves.device)
    for part in parts:
        axes = directions[:, part].double()
        gram += axes @ axes.T
        shadows += axes @ moves[:, part].double().T
    places = torch.linalg.solve(gram, shadows).T  # (m, 2)
    total = rest = 0.0
    for part in parts:
        move = moves[:, part].double()
        total += float(move.square().sum())
        rest += float((move - places @ directions[:, part].double()).square().sum())
    return places, 1 - rest / total if total else 1.0


def axes_around(places: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a square grid that holds a path (m, 2) and the checkpoint at 0, in its middle."""
    low, high = np.minimum(places.min(axis=0), 0), np.maximum(places.max(axis=0), 0)
    middle, half = (low + high) / 2, (0.5 + MARGIN) * float((high - low).max())
    a, b = (np.linspace(centre - half, centre + half, points) for centre in middle)
    return a, b


def plane_rows(
    loss: NetworkLoss, directions: Tensor, a: np.ndarray, b: np.ndarray, first: int
) -> Iterator[tuple[int, list[float], list[float]]]:
    """(row, losses, accuracies) for each b from number `first` on, a value for each a. The weights come back at the end."""
    start = loss.point()
    try:
        for row in range(first, len(b)):
            losses, accuracies = [], []
            for place in a:
                loss.move_to(start + float(place) * directions[0] + float(b[row]) * directions[1])
                value, accuracy = mean_loss(loss)
                losses.append(value)
                accuracies.append(accuracy)
            yield row, losses, accuracies
    finally:
        loss.move_to(start)


@torch.inference_mode()
def mean_loss(loss: NetworkLoss) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy (0..1) of the weights as they are. Batch-norm sees one chunk at a time."""
    chunk = BATCH_NORM_CHUNK if loss.batch_norm else CHUNK
    total = right = 0.0
    for inputs, labels in loss.chunks(chunk):
        logits = loss.model(inputs)
        total += float(F.cross_entropy(logits, labels, reduction="sum"))
        right += float((logits.argmax(1) == labels).sum())
    return total / len(loss.labels), right / len(loss.labels)
