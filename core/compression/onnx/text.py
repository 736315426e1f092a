"""ONNX graphs of the language models: GPT from tokens to logits, recurrent networks with their state in and out."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from core.compression.onnx.graph import Graph
from core.compression.onnx.tracing import LOGITS
from core.models.char_gpt import Block, CharGPT
from core.models.char_rnn import CharRNN

TOKENS = "tokens"
STATES = {"rnn": ("h",), "gru": ("h",), "lstm": ("h", "c")}
"""Parts of a state. Inputs are `state_h`, `state_c`, outputs `next_h`, `next_c`, each (layers, B, width)."""
GATES = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""Where ONNX's gates (GRU: z r h; LSTM: i o f c) are among PyTorch's (r z n; i f g o)."""
HIDDEN = float(np.finfo(np.float32).min)
"""Added to what may not be attended to; minus infinity would give NaN in a row of nothing else."""


def gpt_graph(model: CharGPT) -> onnx.ModelProto:
    """`tokens` (B, T) int64, T up to the context, to `logits` (B, T, vocabulary)."""
    graph, config = Graph(), model.config
    embed = graph.weight("embed.weight", model.embed.weight)
    graph.weight("position.weight", model.position.weight)
    time = graph.add("Shape", [TOKENS], start=1, end=2)
    zero = graph.integers("zero", 0)
    places = graph.add("Slice", ["position.weight", zero, time, zero])  # (T, width)
    x = graph.add("Add", [graph.add("Gather", [embed, TOKENS]), places])
    square = graph.add("Concat", [time, time], axis=0)
    filled = graph.add("Expand", [graph.weight("hidden", np.array(HIDDEN, np.float32)), square])
    mask = graph.add("Trilu", [filled, graph.weight("next", np.array(1, np.int64))], upper=1)  # (T, T)
    graph.integers("heads", 0, 0, 3 * config.heads, config.width // config.heads)
    graph.integers("merged", 0, 0, config.width)
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        x = _block(graph, f"blocks.{index}", block, x, mask)
    x = _norm(graph, "norm", model.norm, x)
    table = graph.add("Transpose", [embed], perm=[1, 0])  # tied: a runtime does this once, when it loads
    graph.add("MatMul", [x, table], LOGITS)
    return graph.model([_tokens()], [_logits(config.vocabulary)])


def _block(graph: Graph, name: str, block: Block, x: str, mask: str) -> str:
    attention = block.attention
    qkv = _linear(graph, f"{name}.attention.qkv", attention.qkv, _norm(graph, f"{name}.norm1", block.norm1, x))
    parts = graph.add("Transpose", [graph.add("Reshape", [qkv, "heads"])], perm=[0, 2, 1, 3])  # (B, 3 heads, T, size)
    query, key, value = (f"{name}.{part}" for part in ("query", "key", "value"))
    graph.add("Split", [parts], [query, key, value], axis=1, num_outputs=3)
    size = attention.qkv.in_features // attention.heads
    scale = graph.weight(f"{name}.scale", np.array(size**-0.5, np.float32))
    scores = graph.add("MatMul", [graph.add("Mul", [query, scale]), graph.add("Transpose", [key], perm=[0, 1, 3, 2])])
    weights = graph.add("Softmax", [graph.add("Add", [scores, mask])], axis=-1)
    attended = graph.add("Transpose", [graph.add("MatMul", [weights, value])], perm=[0, 2, 1, 3])
    merged = graph.add("Reshape", [attended, "merged"])
    x = graph.add("Add", [x, _linear(graph, f"{name}.attention.out", attention.out, merged)])
    inner = _linear(graph, f"{name}.feed", block.feed, _norm(graph, f"{name}.norm2", block.norm2, x))
    back = _linear(graph, f"{name}.back", block.back, graph.add("Gelu", [inner]))
    return graph.add("Add", [x, back])


def recurrent_graph(model: CharRNN) -> onnx.ModelProto:
    """`tokens` (B, T) int64 and a state to `logits` (B, T, vocabulary) and the state after the last token."""
    graph, config, parts = Graph(), model.config, STATES[model.cell]
    axis, layers = graph.integers("axis", 1), len(model.layers)
    embed = graph.weight("embed.weight", model.embed.weight)
    before = {part: [f"state_{part}"] for part in parts}
    for part in parts if layers > 1 else ():
        before[part] = [f"layer_{part}.{index}" for index in range(layers)]
        graph.add("Split", [f"state_{part}"], before[part], axis=0, num_outputs=layers)  # (1, B, width) each
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
        _linear(graph, "head", model.head, x, LOGITS)
    for part in parts:
        graph.add("Concat", after[part], f"next_{part}", axis=0)
    shape: list[str | int | None] = [layers, "B", config.width]
    given = [helper.make_tensor_value_info(f"state_{part}", TensorProto.FLOAT, shape) for part in parts]
    kept = [helper.make_tensor_value_info(f"next_{part}", TensorProto.FLOAT, shape) for part in parts]
    return graph.model([_tokens(), *given], [_logits(config.vocabulary), *kept])


def _gates(layer: torch.nn.Module, kind: str, cell: str) -> np.ndarray:
    """Weights (1, gates * width, inputs) or biases (1, gates * width) of a layer, in ONNX's order of gates."""
    values = layer.get_parameter(f"{kind}_l0").detach().cpu().float()
    parts = values.chunk(len(GATES[cell]))
    return torch.cat([parts[gate] for gate in GATES[cell]])[None].numpy()


def _linear(graph: Graph, name: str, layer: torch.nn.Module, x: str, output: str = "") -> str:
    assert isinstance(layer, torch.nn.Linear)
    weight = graph.weight(f"{name}.weight", layer.weight.detach().T)
    if layer.bias is None:
        return graph.add("MatMul", [x, weight], output)
    return graph.add("Add", [graph.add("MatMul", [x, weight]), graph.weight(f"{name}.bias", layer.bias)], output)


def _norm(graph: Graph, name: str, layer: torch.nn.LayerNorm, x: str) -> str:
    weight = graph.weight(f"{name}.weight", layer.weight)
    return graph.add("LayerNormalization", [x, weight], axis=-1, epsilon=layer.eps)


def _tokens() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(TOKENS, TensorProto.INT64, ["B", "T"])


def _logits(vocabulary: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["B", "T", vocabulary])
