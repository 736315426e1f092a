"""ONNX graphs node by node, as ONNX Runtime runs them best. PyTorch's own exporter is not used: it takes seconds, prints, and
cannot follow the caches of the language models; the networks here need a dozen operators.

Weights keep their PyTorch names. Source of the operators: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from core.compression.onnx.tracing import IMAGES, LOGITS, Call, Untraceable, trace, uses

OPSET = 20
"""The first with Gelu; ONNX Runtime has it since 1.17."""
IR_VERSION = 9
"""The file format that came with the opset: what writes a newer one locks older runtimes out."""


class Graph:
    """Nodes and weights under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: Sequence[str], output: str | Sequence[str] = "", **attributes: Any) -> str:
        """One node; returns the name of its first output, which is made up where none is given."""
        outputs = [output] if isinstance(output, str) else list(output)
        outputs[0] = outputs[0] or f"{op.lower()}_{len(self.nodes)}"
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attributes))
        return outputs[0]

    def weight(self, name: str, values: Tensor | np.ndarray) -> str:
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        self.weights.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def integers(self, name: str, *values: int) -> str:
        """A constant (n,) int64."""
        return self.weight(name, np.array(values, np.int64))

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "bottleneck_lab", inputs, outputs, self.weights)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="bottleneck_lab")


def image_graph(model: nn.Module, side: int, classes: int) -> onnx.ModelProto:
    """`images` (N, 3, side, side) float32 to `logits` (N, classes), N free. Raises Untraceable."""
    calls = _relu_first(trace(model, side))
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    graph = Graph()
    for name in dict.fromkeys(name for call in calls for name in call.weights.values()):
        graph.weight(name, tensors[name].float())
    for call in calls:
        op, attributes = _operator(call, tensors)
        order = ("weight", "bias", "running_mean", "running_var")
        weights = [call.weights[key] for key in order if key in call.weights]
        graph.add(op, [*call.inputs, *weights], call.output, **attributes)
    images = helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, ["N", 3, side, side])
    logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", classes])
    return graph.model([images], [logits])


def _relu_first(calls: list[Call]) -> list[Call]:
    """ReLU before max pooling instead of after it, which gives the same: a runtime does it within the convolution."""
    used, made_by = uses(calls), {call.output: call for call in calls}
    for call in calls:
        pool = made_by.get(call.inputs[0])
        if call.op == "relu" and pool is not None and pool.op == "max_pool2d" and used[pool.output] == 1:
            pool.op, call.op = call.op, pool.op
            pool.settings, call.settings = call.settings, pool.settings
    return calls


def _operator(call: Call, tensors: dict[str, Tensor]) -> tuple[str, dict[str, Any]]:  # noqa: C901
    """ONNX operator and attributes of a call. Raises Untraceable for settings that no network here has."""
    given = call.settings
    if call.op == "conv2d":
        if isinstance(given.get("padding"), str):
            raise Untraceable("The network pads its convolutions by name, for which there is no ONNX export here.")
        return "Conv", {
            "kernel_shape": list(tensors[call.weights["weight"]].shape[2:]),
            "strides": _pair(given.get("stride", 1)),
            "pads": _pair(given.get("padding", 0)) * 2,
            "dilations": _pair(given.get("dilation", 1)),
            "group": given.get("groups", 1),
        }
    if call.op == "max_pool2d":
        if given.get("ceil_mode") or _pair(given.get("dilation", 1)) != [1, 1]:
            raise Untraceable("The network pools in a way for which there is no ONNX export here.")
        kernel = _pair(given["kernel_size"])
        strides = _pair(given["stride"]) if given.get("stride") else kernel
        return "MaxPool", {"kernel_shape": kernel, "strides": strides, "pads": _pair(given.get("padding", 0)) * 2}
    if call.op == "linear":
        return "Gemm", {"transB": 1}
    if call.op == "batch_norm":
        if set(call.weights) != {"weight", "bias", "running_mean", "running_var"}:
            raise Untraceable("The network has a batch norm without scale or statistics, which is not exported here.")
        return "BatchNormalization", {"epsilon": given.get("eps", 1e-5)}
    if call.op == "adaptive_avg_pool2d" and _pair(given["output_size"]) == [1, 1]:
        return "GlobalAveragePool", {}
    if call.op == "flatten" and given.get("start_dim") == 1 and given.get("end_dim", -1) == -1:
        return "Flatten", {"axis": 1}
    if call.op == "add" and len(call.inputs) == 2:
        return "Add", {}
    if call.op == "gelu":
        return "Gelu", {"approximate": given.get("approximate", "none")}
    if call.op == "relu":
        return "Relu", {}
    raise Untraceable(f"The network uses {call.op} in a way for which there is no ONNX export here.")


def _pair(value: Any) -> list[int]:
    return [int(item) for item in value] if isinstance(value, tuple | list) else [int(value)] * 2
