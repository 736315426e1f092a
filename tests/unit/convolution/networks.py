"""Small image classifiers with random weights, as checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from core.checkpoints.store import Card, Checkpoint
from core.models import build_model
from tests.unit.builders import synthetic

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


def checkpoint(model: str = "simple_cnn", **config: Any) -> Checkpoint:
    """Its batch norms have statistics and scales, as trained ones do."""
    torch.manual_seed(0)
    values = {"classes": 4, "image_size": 32} | config
    if model == "fast_resnet":
        values = {"widths": (8, 12, 16)} | values
    network = build_model(model, values).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.bias.normal_()
    return Checkpoint(
        "parent", Card(title="Parent", model=model, model_config=values, dataset=synthetic().card), network
    )
