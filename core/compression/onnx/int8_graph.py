"""A float32 ONNX network made to compute in 8 bits: pairs of QuantizeLinear and DequantizeLinear (QDQ) at the right places,
which ONNX Runtime melts into integer convolutions.

Weights have one symmetric scale for each output channel, activations one scale and zero point each, uint8: a ReLU then is
what the smallest number already does. What is between two integer operators stays in 8 bits, additions of residuals and
poolings too. Logits stay float32. Source: Jacob et al., arXiv:1712.05877; https://onnxruntime.ai/docs/performance/quantization.html
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper

from core.checkpoints.packing import from_grid, rows_on_grid
from core.common.errors import LabError
from core.compression.onnx.calibrate import Ranges
from core.compression.onnx.graph import Graph
from core.compression.onnx.tracing import LOGITS

WITH_WEIGHTS = ("Conv", "Gemm")
INTEGER = (*WITH_WEIGHTS, "MaxPool", "Add", "GlobalAveragePool", "Flatten")
"""What ONNX Runtime computes in 8 bits."""
SAME_VALUES = ("MaxPool", "Flatten")
"""Their results are among their inputs, so they keep the scale."""
WHOLE, SCALE = "_whole", "_scale"
"""Endings of the names of what a weight is held in: whole numbers, and how much one is, of each output channel."""
LARGEST_BIAS = 2.0**30
SMALLEST_SCALE = 1e-12
LEVELS = 255
FLOAT_SHARE = 0.05
"""The first convolution stays in float32 where it has less of the multiply-adds than this: it sees the picture itself, whose
rounding costs the most, and saves next to nothing."""


class Plan:
    """Which operators of a float32 network compute in 8 bits, and which values then are 8 bits wide. Raises LabError for a
    network without convolutions and linear layers, or with weights that are used twice."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.weights = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        if len({name for node in self.nodes for name in node.input if name in self.weights}) != sum(
            name in self.weights for node in self.nodes for name in node.input
        ):
            raise LabError("The network uses the same weights twice, for which there is no int8 here.")
        self.used_by: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.used_by.setdefault(name, []).append(node)
        convolutions = [node for node in self.nodes if node.op_type in WITH_WEIGHTS]
        if not convolutions:
            raise LabError("The network has no convolutions and no linear layers: there is nothing to compute in int8.")
        self.in_float = {convolutions[0].name} if self._first_is_small(model) else set()
        self.values = [name for name in self._all_values() if self._is_narrow(name)]

    def integer(self, node: onnx.NodeProto) -> bool:
        return node.op_type in INTEGER and node.name not in self.in_float

    def only_relu(self, name: str) -> onnx.NodeProto | None:
        """The ReLU that alone uses a value."""
        users = self.used_by.get(name, [])
        return users[0] if len(users) == 1 and users[0].op_type == "Relu" else None

    def measured(self) -> list[str]:
        """Values whose ranges are needed: those of poolings are those of their inputs."""
        same = {node.output[0] for node in self.nodes if node.op_type in SAME_VALUES}
        return [name for name in self.values if name not in same]

    def _all_values(self) -> list[str]:
        inputs = [name for node in self.nodes for name in node.input if name and name not in self.weights]
        return list(dict.fromkeys(inputs))

    def _is_narrow(self, name: str) -> bool:
        if name == LOGITS or self.only_relu(name):
            return False
        made_by = next((node for node in self.nodes if name in node.output), None)
        if made_by is not None and made_by.op_type == "Relu":
            made_by = next((node for node in self.nodes if made_by.input[0] in node.output), None)
        return any(self.integer(node) for node in self.used_by[name]) or (made_by is not None and self.integer(made_by))

    def _first_is_small(self, model: onnx.ModelProto) -> bool:
        shapes = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        sizes = {
            item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim]
            for item in (*shapes.value_info, *shapes.output)
        }
        costs = [
            self.weights[node.input[1]].size * math.prod(sizes.get(node.output[0], [])[2:])
            for node in self.nodes
            if node.op_type in WITH_WEIGHTS
        ]
        return len(costs) > 1 and costs[0] < FLOAT_SHARE * sum(costs)


def quantised(model: onnx.ModelProto, plan: Plan, ranges: Ranges) -> onnx.ModelProto:
    """The network in QDQ form. ranges: of plan.measured()."""
    graph = Graph()
    scales = _activations(graph, plan, ranges)
    given = {name for node in plan.nodes if not plan.integer(node) for name in node.input if name in plan.weights}
    for name in sorted(given, key=list(plan.weights).index):
        values = plan.weights[name]
        if values.ndim >= 2:
            # On the grid too, so that a file that holds weights in int8 holds these as well.
            values = from_grid(*rows_on_grid(values))
        graph.weight(name, values)
    narrow: dict[str, str] = {}
    """Value -> its dequantised twin, which all that use it read."""

    def narrowed(name: str) -> None:
        if name in scales and name not in narrow:
            parts = [f"{name}_scale", f"{name}_zero_point"]
            whole = graph.add("QuantizeLinear", [name, *parts], f"{name}_whole")
            narrow[name] = graph.add("DequantizeLinear", [whole, *parts], f"{name}_narrow")

    for name in (item.name for item in model.graph.input):
        narrowed(name)
    renamed: dict[str, str] = {}
    for node in plan.nodes:
        if node.output[0] in renamed:  # a ReLU that the rounding of its result does
            continue
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        for index, name in enumerate(node.input):
            copied.input[index] = narrow.get(name, name)
        if plan.integer(node) and node.op_type in WITH_WEIGHTS:
            _whole_weights(graph, copied, plan, scales[node.input[0]])
        relu = plan.only_relu(node.output[0])
        if relu is not None and relu.output[0] in scales:
            copied.output[0] = renamed[relu.output[0]] = relu.output[0]
        graph.nodes.append(copied)
        narrowed(copied.output[0])
    return graph.model(list(model.graph.input), list(model.graph.output))


def _activations(graph: Graph, plan: Plan, ranges: Ranges) -> dict[str, float]:
    """Put scale and zero point of each narrow value into the graph; returns the scales."""
    scales: dict[str, float] = {}
    made_by = {name: node for node in plan.nodes for name in node.output}
    for name in plan.values:
        source = name
        while made_by.get(source) is not None and made_by[source].op_type in SAME_VALUES:
            source = made_by[source].input[0]
        low, high = ranges[source]
        # What was always zero may still be something for another picture.
        scale = np.float32(max((high - low) / LEVELS, SMALLEST_SCALE) if high > low else 1.0)
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, LEVELS))
        graph.weight(f"{name}_scale", np.array(scale))
        graph.weight(f"{name}_zero_point", np.array(zero))
        scales[name] = float(scale)
    return scales


def _whole_weights(graph: Graph, node: onnx.NodeProto, plan: Plan, scale: float) -> None:
    """Weights as int8, the bias as int32 in units of both scales. scale: of the node's input."""
    whole, scales = rows_on_grid(plan.weights[node.input[1]])
    if len(node.input) > 2:
        bias = plan.weights[node.input[2]].astype(np.float64)
        # A row whose bias would not fit adds to it less than a billionth a weight.
        least = np.abs(bias) / (LARGEST_BIAS * scale)
        whole[scales < least] = 0
        scales = np.maximum(scales, least).astype(np.float32)
        units = scales * np.float32(scale)
        node.input[2] = _dequantised(graph, node.input[2], np.rint(bias / units).astype(np.int32), units)
    node.input[1] = _dequantised(graph, node.input[1], whole, scales)


def _dequantised(graph: Graph, name: str, whole: np.ndarray, scales: np.ndarray) -> str:
    parts = (
        graph.weight(f"{name}{WHOLE}", whole),
        graph.weight(f"{name}{SCALE}", scales),
        graph.weight(f"{name}_zero_point", np.zeros(len(scales), whole.dtype)),
    )
    return graph.add("DequantizeLinear", parts, f"{name}_narrow", axis=0)
