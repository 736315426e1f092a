"""A float32 ONNX network made to compute in 8 bits by ONNX Runtime's own static quantization (QDQ).

Weights have one symmetric scale for each output channel, activations one scale and zero point each, uint8, from the smallest
and largest number that was seen. Logits stay float32. Source: Jacob et al., arXiv:1712.05877;
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from core.common.errors import LabError
from core.compression.onnx.graph import IMAGES, without_notes
from core.inference.onnx_network import OnnxNetwork

BATCH = 32
NOT_FINITE = "Activations of the network are not finite numbers: it cannot be in int8."


class _Images(CalibrationDataReader):
    """Batches of normalised images (N, 3, H, W): one at a time is held in ONNX Runtime's form."""

    def __init__(self, inputs: np.ndarray) -> None:
        self.batches: Iterator[np.ndarray] = (inputs[at : at + BATCH] for at in range(0, len(inputs), BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {IMAGES: batch}


def quantize_graph(model: onnx.ModelProto, inputs: np.ndarray) -> onnx.ModelProto:
    """The network in QDQ form. inputs: (N, 3, H, W) float32, normalised, which the ranges of activations are measured on.

    Raises LabError for a network without convolutions and linear layers, and where activations are not finite.
    """
    if not {"Conv", "Gemm"} & {node.op_type for node in model.graph.node}:
        raise LabError("The network has no convolutions and no linear layers: there is nothing to compute in int8.")
    network, batches = OnnxNetwork(model.SerializeToString()), _Images(inputs).batches
    if not all(np.isfinite(network.logits(batch)).all() for batch in batches):
        raise LabError(NOT_FINITE)
    with tempfile.TemporaryDirectory(prefix="bottleneck-lab-") as folder:
        source, prepared, target = (Path(folder, name) for name in ("float.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(model, source)
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                target,
                _Images(inputs),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
            quantized = onnx.load(target)
        except Exception as error:  # onnxruntime has an exception class for each of its codes, and no common base
            raise LabError(f"ONNX Runtime cannot put the network in int8 ({type(error).__name__}).") from error
    scales = [numpy_helper.to_array(item) for item in quantized.graph.initializer if item.name.endswith("_scale")]
    if not all(np.isfinite(scale).all() for scale in scales):
        raise LabError(NOT_FINITE)
    return without_notes(quantized)
