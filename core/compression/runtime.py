"""A network in ONNX Runtime, the runtime that a user would deploy. Without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.checkpoints import MAX_ONNX_BYTES, Card
from core.errors import LabError

_IMAGE_OPERATORS = """Add BatchNormalization Conv DequantizeLinear Flatten Gelu Gemm GlobalAveragePool MaxPool
QuantizeLinear Relu"""
_TEXT_OPERATORS = """Add Concat Expand GRU Gather Gelu LSTM LayerNormalization MatMul Mul RNN Reshape Shape Slice Softmax
Split Squeeze Transpose Trilu"""
OPERATORS = {"images": frozenset(_IMAGE_OPERATORS.split()), "tokens": frozenset(_TEXT_OPERATORS.split())}
"""First input -> what files with it consist of here; no loops, no functions, nothing from other domains."""
MOST_VALUES = 2**26
"""Numbers in one tensor that is computed for one picture: a file is small, and could ask for any amount."""


class OnnxNetwork:
    """A loaded file. Inputs are those of `logits`."""

    def __init__(self, data: bytes, *, threads: int = 1) -> None:
        """threads: of the CPU, for one operator. Raises LabError for what is no network of the kind that is exported here."""
        import onnxruntime

        check_onnx(data)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        if threads > 1:  # a thread that waits must not take a core from others
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception class for each of its codes, and no common base
            raise LabError(
                f"ONNX Runtime does not accept the ONNX file ({type(error).__name__}): make or export it again."
            ) from error
        self.inputs: dict[str, tuple[Any, ...]] = {item.name: tuple(item.shape) for item in self.session.get_inputs()}
        self.input_name = next(iter(self.inputs))
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Normalised pictures (N, 3, H, W) float32 to (N, classes); tokens (B, T) int64, from an empty state, to (B, T,
        vocabulary). Raises LabError for inputs that do not fit."""
        return self.run(inputs)[0]

    def run(self, inputs: np.ndarray, state: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """Logits, and for a recurrent network the state after the last token. state: zeros where it is None."""
        names = list(self.inputs)[1:]
        if state is None:
            state = [self._zeros(name, len(inputs)) for name in names]
        try:
            return list(self.session.run(None, {self.input_name: inputs} | dict(zip(names, state, strict=True))))
        except Exception as error:
            wanted = "x".join(str(size) for size in self.inputs[self.input_name])
            raise LabError(
                f"The ONNX network cannot be run on {inputs.dtype} of shape {'x'.join(map(str, inputs.shape))} "
                f"({type(error).__name__}): it takes {wanted}."
            ) from error

    def _zeros(self, name: str, batch: int) -> np.ndarray:
        layers, _, width = self.inputs[name]
        return np.zeros((layers, batch, width), np.float32)


def onnx_inputs(card: Card, images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 to what an exported network takes: (N, 3, H, W) float32, normalised, C-contiguous."""
    data = card.image_data
    mean, std = np.array(data.mean, np.float32), np.array(data.std, np.float32)
    pixels = (images.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def check_onnx(data: bytes) -> Any:
    """The parsed file. Raises LabError where it is too large, damaged, or does what no file does that is written here: other
    operators, weights in other files, tensors without bound. Files come with checkpoints that anyone may have made.
    """
    import onnx

    if not data or len(data) > MAX_ONNX_BYTES:
        raise LabError(f"The ONNX file has {len(data):,} bytes: it must have 1 to {MAX_ONNX_BYTES:,}.")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # the error class of protobuf depends on its backend
        raise LabError("The ONNX file is damaged: make or export it again.") from error
    graph = model.graph
    known = OPERATORS.get(graph.input[0].name if graph.input else "", frozenset())
    if (
        len(model.functions)
        or len(graph.sparse_initializer)
        or len(graph.quantization_annotation)
        or any(node.op_type not in known or node.domain not in ("", "ai.onnx") for node in graph.node)
        or any(
            weight.data_location == onnx.TensorProto.EXTERNAL or weight.external_data for weight in graph.initializer
        )
        or any(
            attribute.HasField("t") or attribute.HasField("g") for node in graph.node for attribute in node.attribute
        )
    ):
        raise LabError("The ONNX file has parts that none has that is exported here: make or export it again.")
    if _largest(model) > MOST_VALUES:
        raise LabError("The ONNX file asks for more memory than any network here needs: make or export it again.")
    return model


def _largest(model: Any) -> int:
    """Numbers in the largest tensor whose size is known before it runs, for one picture."""
    import math

    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:
        raise LabError("The ONNX file has tensors that do not fit together: make or export it again.") from error
    values = [*graph.input, *graph.value_info, *graph.output]
    return max(
        (math.prod(max(1, dim.dim_value) for dim in value.type.tensor_type.shape.dim) for value in values), default=0
    )
