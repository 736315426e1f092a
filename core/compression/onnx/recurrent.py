"""ONNX graphs of the recurrent language models, node by node: PyTorch's exporter fixes their length. State in and out.

Weights keep their PyTorch names. Source of the operators: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from core.compression.onnx.graph import EXPORTERS_LEAST, LOGITS, TOKENS, ir_version
from core.inference.onnx_network import OPSET
from core.models.char_rnn import CharRNN

STATES = {"rnn": ("h",), "gru": ("h",), "lstm": ("h", "c")}
"""Parts of a state. Inputs are `state_h`, `state_c`, outputs `next_h`, `next_c`, each (layers, B, width)."""
GATES = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""Where ONNX's gates (GRU: z r h; LSTM: i o f c) are among PyTorch's (r z n; i f g o)."""


class Graph:
    """Nodes and weights under construction."""

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
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

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "bottleneck_lab", inputs, outputs, self.weights)
        opset = [helper.make_opsetid("", self.opset)]
        version = ir_version(self.opset)
        return helper.make_model(graph, opset_imports=opset, ir_version=version, producer_name="bottleneck_lab")


def recurrent_graph(model: CharRNN, opset: int = OPSET) -> onnx.ModelProto:
    """`tokens` (B, T) int64 and a state to `logits` (B, T, vocabulary) and the state after the last token."""
    graph, config, parts = Graph(opset), model.config, STATES[model.cell]
    axis, layers = graph.weight("axis", np.array([1], np.int64)), len(model.layers)
    embed = graph.weight("embed.weight", model.embed.weight)
    before = {part: [f"state_{part}"] for part in parts}
    for part in parts if layers > 1 else ():
        before[part] = [f"layer_{part}.{index}" for index in range(layers)]
        equal = {"num_outputs": layers} if opset >= EXPORTERS_LEAST else {}
        graph.add("Split", [f"state_{part}"], before[part], axis=0, **equal)  # (1, B, width) each
    after: dict[str, list[str]] = {part: [] for part in parts}
    x = graph.add("Transpose", [graph.add("Gather", [embed, TOKENS])], perm=[1, 0, 2])  # (T, B, embedding)
    for index, layer in enumerate(model.layers):
        name = f"layers.{index}"
        weights = [
            graph.weight(f"{name}.{kind}", _gates(layer, kind, model.cell)) for kind in ("weight_ih", "weight_hh")
        ]
        bias = np.concatenate([_gates(layer, kind, model.cell) for kind in ("bias_ih", "bias_hh")], axis=1)
        state = [before[part][index] for part in parts]
        last = [f"{name}.last_{part}" for part in parts]
        inputs = [x, *weights, graph.weight(f"{name}.bias", bias), "", *state]
        settings = {"hidden_size": config.width} | ({"linear_before_reset": 1} if model.cell == "gru" else {})
        output = graph.add(model.cell.upper(), inputs, [f"{name}.output", *last], **settings)  # (T, 1, B, width)
        x = graph.add("Squeeze", [output, axis])
        for part, item in zip(parts, last, strict=True):
            after[part].append(item)
    x = graph.add("Transpose", [x], perm=[1, 0, 2])
    if model.head is None:
        assert model.bias is not None
        table = graph.add("Transpose", [embed], perm=[1, 0])
        graph.add("Add", [graph.add("MatMul", [x, table]), graph.weight("bias", model.bias)], LOGITS)
    else:
        product = graph.add("MatMul", [x, graph.weight("head.weight", model.head.weight.detach().T)])
        graph.add("Add", [product, graph.weight("head.bias", model.head.bias)], LOGITS)
    for part in parts:
        graph.add("Concat", after[part], f"next_{part}", axis=0)
    shape: list[str | int | None] = [layers, "B", config.width]
    state_inputs = [helper.make_tensor_value_info(f"state_{part}", TensorProto.FLOAT, shape) for part in parts]
    state_outputs = [helper.make_tensor_value_info(f"next_{part}", TensorProto.FLOAT, shape) for part in parts]
    tokens = helper.make_tensor_value_info(TOKENS, TensorProto.INT64, ["B", "T"])
    logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["B", "T", config.vocabulary])
    return graph.model([tokens, *state_inputs], [logits, *state_outputs])


def _gates(layer: torch.nn.Module, kind: str, cell: str) -> np.ndarray:
    """Weights (1, gates * width, inputs) or biases (1, gates * width) of a layer, in ONNX's order of gates."""
    values = layer.get_parameter(f"{kind}_l0").detach().cpu().float()
    parts = values.chunk(len(GATES[cell]))
    return torch.cat([parts[gate] for gate in GATES[cell]])[None].numpy()
