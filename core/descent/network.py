"""The loss of a network as a function of all its weights: its gradient, its curvature, and full-batch gradient descent on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress, no_progress
from core.data.dataset import Split
from core.descent.curvature import Curvature, largest_curvature
from core.descent.results import RATE_MULTIPLES, Descent, NetworkSweep
from core.inference.images import normalise
from core.models import clone_model

FOLLOW = 12
"""Hessian-vector products at most where the direction of the point before is known."""
TOLERANCE, FOLLOW_TOLERANCE = 5e-3, 3e-2
"""Of the residual, which bounds the relative error of λ; that is mostly much smaller."""


class NetworkLoss:
    """Mean cross-entropy on all given images, in nats, as a function of one vector: all weights, in their order.

    A copy of the network without dropout. Batch-norm normalises by these images, because averages kept from training would not
    fit other weights.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        """inputs: (N, 3, H, W) normalised; labels: (N,)."""
        self.model: nn.Module = clone_model(model).to(memory_format=torch.channels_last)
        norms = [part for part in self.model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        self.batch_norm = bool(norms)
        for norm in norms:
            norm.train()
        self.weights = [weight for weight in self.model.parameters() if weight.is_floating_point()]
        for weight in self.weights:
            weight.requires_grad_(True)
        self.inputs, self.labels = inputs.contiguous(memory_format=torch.channels_last), labels

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.weights)

    def point(self) -> Tensor:
        """(n,) the weights as they are now."""
        return torch.cat([weight.detach().reshape(-1) for weight in self.weights])

    def move_to(self, point: Tensor) -> None:
        """point: (n,)."""
        with torch.no_grad():
            pieces = point.split([weight.numel() for weight in self.weights])
            for weight, piece in zip(self.weights, pieces, strict=True):
                weight.copy_(piece.view_as(weight))

    def gradient(self, *, twice: bool = False) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient (n,) here. twice: a gradient that can be differentiated again."""
        loss = F.cross_entropy(self.model(self.inputs), self.labels)
        parts = torch.autograd.grad(loss, self.weights, create_graph=twice)
        return loss.detach(), torch.cat([part.reshape(-1) for part in parts])

    def product(self) -> Callable[[Tensor], Tensor]:
        """v -> Hv (n,) here, the Hessian being that of the loss."""
        _, gradient = self.gradient(twice=True)

        def multiply(vector: Tensor) -> Tensor:
            parts = torch.autograd.grad(gradient, self.weights, grad_outputs=vector, retain_graph=True)
            return torch.cat([part.reshape(-1) for part in parts])

        return multiply

    def curvature(self, start: Tensor | None = None, check: Callable[[int], None] = lambda done: None) -> Curvature:
        """The largest curvature here. start: (n,) a direction that is near."""
        if start is not None:
            return largest_curvature(self.product(), start, iterations=FOLLOW, tolerance=FOLLOW_TOLERANCE, check=check)
        random = torch.Generator().manual_seed(0)
        start = torch.randn(self.size, generator=random, dtype=self.weights[0].dtype).to(self.weights[0].device)
        return largest_curvature(self.product(), start, tolerance=TOLERANCE, check=check)


def network_loss(checkpoint: Checkpoint, images: Split, device: str = "cpu") -> NetworkLoss:
    """images: (N, H, W, 3) of the size that the checkpoint sees. Raises LabError for another size."""
    side = checkpoint.card.image_data.image_size
    if images.images.shape[1] != side:
        raise LabError(f"This checkpoint sees images of {side} pixels: choose one that was trained on this dataset.")
    inputs = normalise(torch.from_numpy(np.ascontiguousarray(images.images)), checkpoint.card).to(device)
    labels = torch.from_numpy(np.asarray(images.labels, dtype=np.int64)).to(device)
    return NetworkLoss(checkpoint.model.to(device), inputs, labels)


def descend_network(
    loss: NetworkLoss,
    rate: float,
    steps: int,
    *,
    every: int,
    known: Curvature | None = None,
    on_progress: Progress = no_progress,
) -> Descent:
    """Full-batch gradient descent from where the weights are, which it leaves moved. every: steps between two measurements of
    the curvature. known: the curvature at the start. Ends early where the loss is no number any more."""
    losses: list[float] = []
    measured: list[tuple[int, float]] = []
    direction = None if known is None else known.vector
    for step in range(steps + 1):
        on_progress(step / (steps + 1), f"step {step} of {steps}")
        if step % every == 0:
            found = known if known is not None and step == 0 else loss.curvature(direction)
            if math.isfinite(found.value):
                direction = found.vector
                measured.append((step, found.value))
        value, gradient = loss.gradient()
        losses.append(float(value))
        if not math.isfinite(losses[-1]):
            losses.pop()
            return Descent(rate=rate, loss_nats=tuple(losses), sharpness=tuple(measured), diverged=True)
        if step < steps:
            loss.move_to(loss.point() - rate * gradient)
    return Descent(rate=rate, loss_nats=tuple(losses), sharpness=tuple(measured), diverged=False)


def sweep_network(
    loss: NetworkLoss,
    *,
    name: str,
    title: str,
    steps: int = 30,
    every: int = 5,
    multiples: Sequence[float] = RATE_MULTIPLES,
    rates: Sequence[float] = (),
    on_progress: Progress = no_progress,
) -> NetworkSweep:
    """Descents from one point at several rates: multiples of 2/λ there, or the given ones. The weights come back to it."""
    start = loss.point()
    on_progress(0.0, "measuring the largest curvature")
    known = loss.curvature(check=lambda done: on_progress(0.0, f"measuring the largest curvature, product {done}"))
    if known.value <= 0:
        raise LabError("The loss does not curve upwards here, so there is no 2/λ: choose another checkpoint.")
    chosen = tuple(rates) or tuple(2 * multiple / known.value for multiple in multiples)
    found = []
    for place, rate in enumerate(chosen):
        loss.move_to(start)

        def report(share: float, words: str, place: int = place, rate: float = rate) -> None:
            on_progress((place + share) / len(chosen), f"descending at rate {rate:.3g} ({words})")

        found.append(descend_network(loss, rate, steps, every=every, known=known, on_progress=report))
    loss.move_to(start)
    return NetworkSweep(
        checkpoint=name,
        title=title,
        images=len(loss.labels),
        weights=loss.size,
        curvature=known.value,
        products=known.products,
        descents=tuple(found),
    )
