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
from core.models import clone_model, images_at_once

FOLLOW = 12
"""Hessian-vector products at most where the direction of the point before is known."""
TOLERANCE, FOLLOW_TOLERANCE = 5e-3, 3e-2
"""Of the residual, which bounds the relative error of λ; that is mostly much smaller."""
TWICE = 4
"""A graph that is differentiated twice takes about so many times the memory of one that is not."""
LEAST_CHUNK = 3
"""Parts of one size then have two images or more, which batch-norm needs."""


class NetworkLoss:
    """Mean cross-entropy on all given images, in nats, as a function of one vector: all weights, in their order.

    A copy of the network without dropout. Batch-norm normalises by these images, because averages kept from training would not
    fit other weights: by each chunk of them, where they are more than go through the network together.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, labels: Tensor, chunk: int = 0) -> None:
        """inputs: (N, 3, H, W) normalised; labels: (N,). chunk: images at once, at most; 0 for all."""
        self.model: nn.Module = clone_model(model).to(memory_format=torch.channels_last)
        norms = [part for part in self.model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        self.batch_norm = bool(norms)
        for norm in norms:
            norm.train()
        self.weights = [weight for weight in self.model.parameters() if weight.is_floating_point()]
        for weight in self.weights:
            weight.requires_grad_(True)
        self.inputs, self.labels = inputs.contiguous(memory_format=torch.channels_last), labels
        self.chunk = chunk or len(labels)

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

    def chunks(self, most: int = 0) -> list[tuple[Tensor, Tensor]]:
        """Inputs and labels in parts of one size, give or take an image. most: images in one, if fewer than `chunk`."""
        size = max(LEAST_CHUNK, min(most or self.chunk, self.chunk))
        count = math.ceil(len(self.labels) / size)
        return list(zip(self.inputs.tensor_split(count), self.labels.tensor_split(count), strict=True))

    def gradient(self) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient (n,) here."""
        first, *others = self.chunks()
        loss, gradient = self._gradient(*first)
        for inputs, labels in others:
            more, part = self._gradient(inputs, labels)
            loss, gradient = loss + more, gradient + part
        return loss, gradient

    def product(self) -> Callable[[Tensor], Tensor]:
        """v -> Hv (n,) here, the Hessian being that of the loss. One chunk keeps its graph; more compute theirs anew."""
        chunks = self.chunks()
        kept = self._gradient(*chunks[0], twice=True)[1] if len(chunks) == 1 else None

        def multiply(vector: Tensor) -> Tensor:
            if kept is not None:
                return self._vector(torch.autograd.grad(kept, self.weights, grad_outputs=vector, retain_graph=True))
            total = torch.zeros_like(vector)
            for inputs, labels in chunks:
                _, gradient = self._gradient(inputs, labels, twice=True)
                total += self._vector(torch.autograd.grad(gradient, self.weights, grad_outputs=vector))
                del gradient  # and its graph, before the next one
            return total

        return multiply

    def _gradient(self, inputs: Tensor, labels: Tensor, *, twice: bool = False) -> tuple[Tensor, Tensor]:
        """What these images add to the loss and to its gradient. twice: a gradient that can be differentiated again."""
        loss = F.cross_entropy(self.model(inputs), labels) * (len(labels) / len(self.labels))
        return loss.detach(), self._vector(torch.autograd.grad(loss, self.weights, create_graph=twice))

    @staticmethod
    def _vector(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.reshape(-1) for part in parts])

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
    chunk = images_at_once(checkpoint.card.model_config, len(labels) * TWICE, device) // TWICE
    return NetworkLoss(checkpoint.model.to(device), inputs, labels, chunk or 1)


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
    if not math.isfinite(known.value):
        raise LabError("The loss or its curvature is not a number at these weights: choose another checkpoint.")
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
