"""A network in ONNX Runtime, the runtime that a user would deploy. Without torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from core.checkpoints.store import MAX_ONNX_BYTES, Card
from core.checkpoints.validation import MAX_IMAGE_SIZE
from core.common.errors import LabError
from core.common.processor import int8_sums_overflow

_IMAGE_OPERATORS = """Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Celu Clip Concat ConstantOfShape Conv
ConvTranspose CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gelu Gemm
GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mish Mod
Mul Neg Not Or PRelu Pad Pow QuantizeLinear RMSNormalization RNN Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Shape Sigmoid Sign Slice Softmax Softplus Softsign
SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where"""
_TEXT_OPERATORS = """Add Cast Concat Div Equal Erf Expand GRU Gather Gelu LSTM LayerNormalization MatMul Mul RNN Reshape Shape
Slice Softmax Split Squeeze Transpose Trilu Where"""
OPERATORS = {"images": frozenset(_IMAGE_OPERATORS.split()), "tokens": frozenset(_TEXT_OPERATORS.split())}
"""First input -> what files with it may consist of; no loops, no functions, nothing random, nothing from other domains."""
RECURRENT = frozenset({"RNN", "GRU", "LSTM"})
OPSET = 20
"""The usual one: the first with Gelu; ONNX Runtime has it since 1.17."""
OPSETS = tuple(range(17, 23))
"""Those that can be chosen. From 23 on PyTorch writes attention as one operator, which few runtimes have."""
BATCHES = (32, 8, 1)
"""Images that are answered at once: the largest for which memory is bounded."""
LARGEST_BATCH = BATCHES[0]
MOST_VALUES = 2**30
"""Numbers in all tensors that are computed for so many images: a file is small, and could ask for any amount."""
CASTS = ("FLOAT", "FLOAT16", "DOUBLE", "INT64", "INT32", "UINT8", "INT8", "BOOL")
"""What numbers may be cast to: a text takes many times the memory of a number."""
MOST_KEPT = 64
"""Numbers of a weight that sizes may depend on."""
LARGEST_SETTING = 2**16
"""Of an operator: sizes that are computed from it then cannot overflow."""


class OnnxNetwork:
    """A loaded file. Inputs are those of `logits`."""

    def __init__(self, data: bytes, *, threads: int = 1) -> None:
        """threads: of the CPU, for one operator. Raises LabError for a file that is not an exported network."""
        import onnxruntime

        self.most = largest_batch(_parse(data))
        """Inputs that are answered at once."""
        try:
            self.session = onnxruntime.InferenceSession(
                data, session_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has an exception class for each of its codes, and no common base
            raise LabError(
                f"ONNX Runtime does not accept the ONNX file ({type(error).__name__}): make or export it again."
            ) from error
        self.inputs: dict[str, tuple[Any, ...]] = {item.name: tuple(item.shape) for item in self.session.get_inputs()}
        self.input_name = next(iter(self.inputs))
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Normalised images (N, 3, H, W) float32 to (N, classes); tokens (B, T) int64, from an empty state, to (B, T,
        vocabulary). Raises LabError for inputs that do not fit."""
        if self.most >= LARGEST_BATCH:
            return self.run(inputs)[0]
        parts = [self.run(inputs[at : at + self.most])[0] for at in range(0, len(inputs), self.most)]
        return np.concatenate(parts) if parts else self.run(inputs)[0]

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


def session_options(threads: int) -> Any:
    """ONNX Runtime's, for a network on `threads` of the CPU.

    int8 is exact everywhere: where a processor adds up in 16 bits, which overflows, slower instructions are used."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    if threads > 1:  # a thread that waits must not take a core from others
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1" if int8_sums_overflow() else "0")
    return options


def onnx_inputs(card: Card, images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 to what an exported network takes: (N, 3, H, W) float32, normalised, C-contiguous."""
    data = card.image_data
    mean, std = np.array(data.mean, np.float32), np.array(data.std, np.float32)
    pixels = (images.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def check_onnx(data: bytes, side: int | None = None) -> Any:
    """The parsed file. side: of the images, in pixels, where it is known. Raises LabError where it is too large, damaged, or does
    what no file may."""
    model = _parse(data, side)
    largest_batch(model)
    return model


def _parse(data: bytes, side: int | None = None) -> Any:
    """The file, its structure checked.

    Raises LabError where the file is too large, damaged, or does what no file does that is written here: other operators,
    weights in other files, other inputs, tensors without bound. Files come with checkpoints that anyone may have made.
    """
    import onnx

    if not data or len(data) > MAX_ONNX_BYTES:
        raise LabError(f"The ONNX file has {len(data):,} bytes: it must have 1 to {MAX_ONNX_BYTES:,}.")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # the error class of protobuf depends on its backend
        raise LabError("The ONNX file is damaged: make or export it again.") from error
    graph = model.graph
    first = graph.input[0].name if graph.input else ""
    operators = OPERATORS.get(first, frozenset())
    weights, settings = graph.initializer, [attribute for node in graph.node for attribute in node.attribute]
    if (
        len(model.functions)
        or len(graph.sparse_initializer)
        or len(graph.quantization_annotation)
        or len(graph.value_info)
        or not len(graph.output)
        or any(node.op_type not in operators or node.domain not in ("", "ai.onnx") for node in graph.node)
        or any(weight.data_location == onnx.TensorProto.EXTERNAL or weight.external_data for weight in weights)
        or any(size < 0 for weight in weights for size in weight.dims)
        or any(weight.data_type == onnx.TensorProto.STRING for weight in weights)
        or any(node.op_type == "Cast" and not _casts_to_a_number(node) for node in graph.node)
        or _recurs_in_other_numbers(graph)
        or any(setting.HasField("t") or setting.HasField("g") for setting in settings)
        or any(abs(value) > LARGEST_SETTING for setting in settings for value in (setting.i, *setting.ints))
    ):
        raise LabError("The ONNX file has parts that no exported file has: make or export it again.")
    weight_names = {weight.name for weight in weights}
    takes = _takes_images(graph.input, side) if first == "images" else _takes_tokens(graph.input)
    if not takes or any(item.name in weight_names for item in graph.input):
        raise LabError("The ONNX file takes other inputs than its checkpoint: make or export it again.")
    return model


def _casts_to_a_number(node: Any) -> bool:
    import onnx

    kinds = {getattr(onnx.TensorProto, name) for name in CASTS}
    return all(setting.i in kinds for setting in node.attribute if setting.name == "to")


def _recurs_in_other_numbers(graph: Any) -> bool:
    """Whether a recurrent network could compute in anything but float32: ONNX Runtime's CPU kernels crash in float16."""
    import onnx

    if not RECURRENT & {node.op_type for node in graph.node}:
        return False
    usual = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64)
    others = {weight.name for weight in graph.initializer if weight.data_type not in usual}
    return any(
        any(setting.i != onnx.TensorProto.FLOAT for setting in node.attribute)
        if node.op_type == "Cast"
        else not others.isdisjoint(node.input)
        for node in graph.node
    )


def largest_batch(model: Any) -> int:
    """How many images a checked file answers at once: 1 where its batch is fixed. Raises LabError where even one would take too
    much memory."""
    shape = model.graph.input[0].type.tensor_type.shape
    images = model.graph.input[0].name == "images"
    batches = (1,) if images and shape.dim[0].dim_value == 1 else BATCHES if images else BATCHES[:1]
    for batch in batches:
        if _numbers(model, images=images, batch=batch) <= MOST_VALUES:
            return batch
    raise LabError("The ONNX file asks for more memory than any network here needs: make or export it again.")


def _takes_images(inputs: Any, side: int | None) -> bool:
    """Whether the only input is (N, 3, side, side) float32, N free or 1."""
    import onnx

    sizes = _sizes(inputs[0])
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT or len(sizes or []) != 4:
        return False
    count, channels, height, width = sizes or []
    allowed = range(8, MAX_IMAGE_SIZE + 1) if side is None else (side,)
    return count in (None, 1) and channels == 3 and height == width and height in allowed


def _takes_tokens(inputs: Any) -> bool:
    """Whether the inputs are (B, T) int64 and states (layers, B, width) float32, B and T free."""
    import onnx

    (kind, tokens), *states = [(item.type.tensor_type.elem_type, _sizes(item) or []) for item in inputs] or [(0, [])]
    return (kind, tokens) == (onnx.TensorProto.INT64, [None, None]) and all(
        kind == onnx.TensorProto.FLOAT and len(sizes) == 3 and sizes[0] and sizes[1] is None and sizes[2]
        for kind, sizes in states
    )


def _sizes(value: Any) -> list[int | None] | None:
    """Of a tensor's dimensions, None for one that is free; None for a tensor of which even their number is not known."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]


def _without_weights(model: Any) -> Any:
    """The graph with the shapes of weights in the place of their numbers, but for few, such as sizes and scales."""
    import onnx

    small = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    small.graph.name = "sizes"
    small.graph.node.extend(model.graph.node)
    small.graph.input.extend(model.graph.input)
    for item in model.graph.initializer:
        if math.prod(item.dims) <= MOST_KEPT or item.data_type == onnx.TensorProto.INT64:
            small.graph.initializer.append(item)
        else:
            small.graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)))
    return small


def _numbers(model: Any, *, images: bool, batch: int = LARGEST_BATCH) -> int:
    """Numbers in all tensors for a batch of images, and in the patches of one that each convolution multiplies; of
    language models for one character, as far as it is known before they run. Raises LabError for a tensor of images without
    a size."""
    import onnx

    sized = _without_weights(model)  # and without results: what a file says about them is not taken on trust
    if images:
        sized.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    try:
        found = onnx.shape_inference.infer_shapes(sized, strict_mode=True, data_prop=True).graph
    except Exception as error:
        raise LabError("The ONNX file has tensors that do not fit together: make or export it again.") from error
    sizes = {item.name: _sizes(item) for item in (*found.input, *found.value_info)}
    sizes |= {weight.name: list(weight.dims) for weight in model.graph.initializer}
    if not images:
        return sum(math.prod(size or 1 for size in of or []) for of in sizes.values())
    numbers = {name: 0 if of is None else math.prod(size or 0 for size in of) for name, of in sizes.items()}
    computed = [name for node in model.graph.node for name in node.output if name]
    if any(numbers.get(name, 0) <= 0 for name in computed) or len(sizes.get(model.graph.output[0].name) or []) != 2:
        raise LabError("The ONNX file has tensors of unknown size: make or export it again.")
    # A convolution that was inferred has a weight (channels, ...) and a result (N, channels, ...).
    convolutions = [
        (sizes[node.input[1]], sizes[node.output[0]]) for node in model.graph.node if node.op_type == "Conv"
    ]
    patches = (math.prod(size or 0 for size in (weight or [])[1:] + (made or [])[2:]) for weight, made in convolutions)
    return sum(numbers.values()) + sum(patches)
