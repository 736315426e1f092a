"""The distance to training images as a second output of an image network, for the warning that goes by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.common.errors import LabError
from core.compression.onnx.graph import LOGITS
from core.inference.neighbours import NEAREST

DISTANCES, PREFIX = "distances", "distance/"


def add_distances(model: onnx.ModelProto, known: np.ndarray) -> None:
    """Add the output `distances` (N,), as `core.inference.neighbours.distances` computes it, to a network, in place.

    known: (M, F) float32, features of training images. Raises LabError where the last layer is not a linear one.
    """
    graph = model.graph
    last = next((node for node in graph.node if LOGITS in node.output), None)
    if last is None or last.op_type != "Gemm":
        raise LabError("The network does not end with a linear layer: its warning by distance cannot be exported.")
    weights = {
        "ones": np.ones((known.shape[1], 1), np.float32),
        "least_norm": np.float32(1e-12),
        "twice_known": 2 * known.T,
        "one_and_squares": 1 + (known**2).sum(1)[None],
        "zero": np.float32(0),
        "nearest": np.array([NEAREST], np.int64),
        "last": np.int64(NEAREST - 1),
    }
    steps: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
        ("Mul", [last.input[0], last.input[0]], ["squares"], {}),
        ("MatMul", ["squares", "ones"], ["squared_norm"], {}),
        ("Sqrt", ["squared_norm"], ["norm"], {}),
        ("Max", ["norm", "least_norm"], ["divisor"], {}),
        ("Div", [last.input[0], "divisor"], ["unit"], {}),
        ("MatMul", ["unit", "twice_known"], ["twice_products"], {}),  # (N, M)
        ("Sub", ["one_and_squares", "twice_products"], ["squared_far"], {}),
        ("Max", ["squared_far", "zero"], ["squared"], {}),
        ("TopK", ["squared", "nearest"], ["nearest_squared", "nearest_rows"], {"largest": 0}),
        ("Gather", ["nearest_squared", "last"], ["fifth_squared"], {"axis": 1}),
        ("Sqrt", ["fifth_squared"], [DISTANCES], {}),
    ]
    named = {name: PREFIX + name for name in (*weights, *(name for _, _, made, _ in steps for name in made))}
    named[DISTANCES] = DISTANCES
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values, order="C"), named[name]) for name, values in weights.items()
    )
    graph.node.extend(
        helper.make_node(
            op, [named.get(name, name) for name in read], [named[name] for name in made], PREFIX + made[0], **settings
        )
        for op, read, made, settings in steps
    )
    graph.output.append(helper.make_tensor_value_info(DISTANCES, TensorProto.FLOAT, ["N"]))


def is_of_distances(node: onnx.NodeProto) -> bool:
    """Whether a node computes distances, and not the network."""
    return bool(node.name.startswith(PREFIX))
