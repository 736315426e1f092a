"""How far an image lies from those that a network was trained on, in what its last layer gets.

Used where it was measured to notice more than free energy alone: a new head on ImageNet features, see docs/results.md.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models import head_name

NEAREST = 5
MOST = 1000
"""Training images whose features are kept: 2.5 MB of EfficientNet-Lite0's."""
SEED = 0
MEASURED = ("efficientnet_lite0",)
"""Networks on whose ImageNet features the distance was measured to help: by the rule a new head, by one run all layers."""


def without_head(model: nn.Module) -> nn.Module:
    """A view of the network that ends before its last layer; it shares all weights. Images (N, 3, H, W) to features (N, F)."""
    *way, leaf = head_name(model).split(".")  # of a head in two factors, the second is inside another module
    body = inner = _shallow(model)
    for name in way:
        inner._modules[name] = inner = _shallow(inner.get_submodule(name))
    inner._modules[leaf] = nn.Identity()
    return body


def _shallow(module: nn.Module) -> nn.Module:
    """A copy with the same weights, whose children can be replaced."""
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other


def kept_features(features: Tensor) -> Tensor:
    """(at most MOST, F) float32 of features (N, F): on the unit sphere, rounded to what a file holds."""
    if len(features) > MOST:
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(SEED))
        features = features[order[:MOST]]
    return F.normalize(features.float().cpu()).half().float()


def distances(features: Tensor, known: Tensor) -> Tensor:
    """(N,) distance of features (N, F) to the fifth nearest of known ones (M, F) on the unit sphere, all put on it.

    Source: Sun et al., arXiv:2204.06507.
    """
    parts = [torch.cdist(part, known).kthvalue(NEAREST, dim=1).values for part in F.normalize(features).split(500)]
    return torch.cat(parts)
