"""How far a set of images is from another one, by what a classifier's last layer gets of them.

This is the Fréchet distance of Heusel et al., arXiv:1706.08500, with features of our own Fast ResNet in place of
Inception's. So its numbers compare with each other and with no published FID.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.checkpoints.store import Checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.data.dataset import Split
from core.inference.generator import arithmetic
from core.inference.images import normalise
from core.inference.neighbours import without_head
from core.synthesis.progress import Told, told_nothing

JUDGE = "fast_resnet"
"""The checkpoint whose features are used. It ships, so all machines have it."""
AT_ONCE = 250
LEAST = 20
"""Images, for a mean and a covariance."""


def load_judge() -> Checkpoint:
    return load_checkpoint(JUDGE)


@torch.inference_mode()
def image_features(judge: Checkpoint, images: np.ndarray, on_images: Told = told_nothing) -> Tensor:
    """(N, F) float32 features of images (N, H, W, 3) uint8; those of another size are resized to the judge's."""
    body, side, found = without_head(judge.model), judge.card.image_data.image_size, []
    for start in range(0, len(images), AT_ONCE):
        part = normalise(torch.from_numpy(np.ascontiguousarray(images[start : start + AT_ONCE])), judge.card)
        if part.shape[-1] != side:
            part = torch.nn.functional.interpolate(part, (side, side), mode="bilinear", antialias=True)
        with arithmetic():
            found.append(body(part).float())
        on_images(start + len(part))
    return torch.cat(found)


def training_features(judge: Checkpoint, train: Split, report: Progress | None = None) -> Tensor:
    """The same of a training set, computed once and kept on disk. Images must have the judge's size."""
    from core.training.batches import DeviceImages
    from core.training.features import body_of, features_of

    return features_of(
        body_of(judge.model),
        DeviceImages(train, judge.card.image_data, "cpu"),
        settings=judge.card.model_config,
        amp=arithmetic(),
        words="comparing features with the training images",
        on_progress=report,
    )


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Between the normal distributions of two sets of features (N, F) and (M, F): |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    Raises LabError for sets of fewer than 20.
    """
    if min(len(first), len(second)) < LEAST:
        raise LabError(f"A distance needs at least {LEAST} images on each side: make more.")
    (mean1, spread1), (mean2, spread2) = (_normal(features.double()) for features in (first, second))
    root = _square_root(spread1)
    cross = torch.linalg.eigvalsh(root @ spread2 @ root).clamp(min=0).sqrt().sum()
    found = (mean1 - mean2).square().sum() + spread1.trace() + spread2.trace() - 2 * cross
    return max(0.0, float(found))


def _normal(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), torch.cov(features.T)


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
