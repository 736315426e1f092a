"""How a checkpoint is made from another: the changed network, and a card that names its parent."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from core.checkpoints.store import Calibration, Checkpoint
from core.models import LAYERS, build_model
from core.models.surgery import layer_changes


def child_checkpoint(checkpoint: Checkpoint, model: nn.Module, **card: Any) -> Checkpoint:
    """A checkpoint made from another. model: the new network, on its own memory; its changed layers are put on the card, so
    that it can be rebuilt. card: further fields to set.

    Figures and calibration of the parent are no longer true, and are left out.
    """
    old = checkpoint.card
    settings = {key: value for key, value in old.model_config.items() if key != LAYERS}
    with torch.device("meta"):  # sizes only: no memory, and nothing drawn from the global generator
        designed = build_model(old.model, settings)
    changed = layer_changes(model, designed)
    values: dict[str, Any] = {
        "model_config": settings | ({LAYERS: changed} if changed else {}),
        "metrics": {},
        "calibration": Calibration(),
        "parent": checkpoint.name,
        "tta": "none",  # several views of an image would multiply what was saved
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "storage": "float32",
        "onnx_file": "",
        "onnx_sha256": "",
        "onnx_bytes": 0,
        "features_file": "",
        "features_sha256": "",
        "created": "",
    }
    new = dataclasses.replace(old, **values | card)
    return Checkpoint(checkpoint.name, new, model.eval().requires_grad_(False))
