"""int8 after training. Networks for images: weights and activations, as an ONNX file that computes in integers. Language
models: weights only. Sources: Jacob et al., arXiv:1712.05877; Nagel et al., arXiv:2106.08295, section 3.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from core.checkpoints.packing import dequantize, quantize_per_channel
from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.compression.methods.child import child_checkpoint
from core.compression.onnx.export import compare_export, with_metadata
from core.compression.onnx.folding import fold_batch_norms
from core.compression.onnx.graph import image_graph
from core.compression.onnx.quantize import quantize_graph
from core.compression.steps import FEWEST_CALIBRATION_IMAGES, Int8
from core.inference.onnx_network import check_onnx, onnx_inputs
from core.models import clone_model

COMPARED = 64
"""Calibration images on which the file is compared with its twin."""


def to_int8(checkpoint: Checkpoint, images: np.ndarray | None, step: Int8) -> Checkpoint:
    """A checkpoint of the same network in 8 bits; the one given stays as it is.

    images: (N, H, W, 3) uint8, training images that the ranges of activations are measured on, the first step.images of
    them; None for a language model. Raises LabError for unsuitable images and for networks that cannot be in int8.

    Images: batch norms are folded, the checkpoint carries an ONNX file that computes in integers, and its model is the float
    twin: the folded network with the weights of that file, int8 times scale. Text: every matrix moves to the int8 grid of its
    rows, arithmetic stays float32 (see core.inference.decoding for integer arithmetic).
    """
    if checkpoint.card.task == "text":
        if images is not None:
            raise LabError(f"{checkpoint.card.title[:100]} reads text: it takes no images for calibration.")
        return child_checkpoint(checkpoint, _on_grid(clone_model(checkpoint.model)), step, storage="int8")
    data = checkpoint.card.image_data
    chosen = _checked(images, data.image_size)[: step.images]
    _check_finite(checkpoint.model)
    if checkpoint.onnx:  # of a network that came as an ONNX file, that file itself
        twin, graph = _on_grid(clone_model(checkpoint.model)), check_onnx(checkpoint.onnx, data.image_size)
    else:
        twin = _on_grid(fold_batch_norms(checkpoint.model, data.image_size))
        graph = image_graph(twin, data.image_size)
    file = quantize_graph(graph, onnx_inputs(checkpoint.card, chosen))
    made = child_checkpoint(checkpoint, twin, step, storage="int8")
    made = dataclasses.replace(made, onnx=with_metadata(file, made, "int8"))
    compare_export(made, made.onnx, chosen[:COMPARED])
    return made


def _checked(images: np.ndarray | None, side: int) -> np.ndarray:
    few = 0 if images is None else len(images)
    if images is None or few < FEWEST_CALIBRATION_IMAGES:
        raise LabError(
            f"{few} images are too few to measure the ranges of activations: give at least {FEWEST_CALIBRATION_IMAGES} "
            "training images."
        )
    if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        shape = "x".join(map(str, images.shape))
        raise LabError(
            f"Calibration needs images of {side}x{side} pixels with three uint8 channels, not {images.dtype} of shape {shape}."
        )
    if (images == images[0]).all():
        raise LabError(
            "All calibration images are the same, so ranges cannot be measured: give different training images."
        )
    return images


@torch.no_grad()
def _on_grid(model: nn.Module) -> nn.Module:
    """Every weight of two or more dimensions at its nearest value of q * scale, in place; a scale for each row."""
    _check_finite(model)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.copy_(
                torch.from_numpy(dequantize(*quantize_per_channel(parameter.detach().cpu().float().numpy())))
            )
    return model


def _check_finite(model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise LabError(f"{name[:60]} has values that are not finite numbers: the network cannot be in int8.")
