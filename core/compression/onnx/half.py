"""A float32 ONNX network in float16. Inputs and outputs stay float32.

Networks for images and the GPT compute in float16, by ONNX Runtime's own converter. A processor without such arithmetic is given
casts by the runtime: the file is half as large, and not faster. Recurrent networks only keep their weights in float16, since ONNX
Runtime has no float16 kernels for them.
"""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.common.errors import LabError
from core.compression.onnx.distances import is_of_distances
from core.compression.onnx.graph import without_notes
from core.inference.onnx_network import RECURRENT


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network in float16; distances to training images stay float32, for they are differences of large sums."""
    if RECURRENT & {node.op_type for node in model.graph.node}:
        return _with_weights_in_float16(model)
    from onnxruntime.transformers.float16 import convert_float_to_float16

    kept = [node.name for node in model.graph.node if is_of_distances(node)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for every weight that float16 rounds to its smallest number
            converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    except Exception as error:  # the converter raises what its asserts and lookups raise
        raise LabError(f"ONNX Runtime cannot put the network in float16 ({type(error).__name__}).") from error
    _put_in_order(converted.graph)
    return without_notes(converted)


def _put_in_order(graph: onnx.GraphProto) -> None:
    """Each node behind those that it reads from: the converter appends the casts that it adds."""
    known = {"", *(item.name for item in (*graph.input, *graph.initializer))}
    pending, nodes = list(graph.node), []
    while pending:
        waiting = []
        for node in pending:
            if known.issuperset(node.input):
                nodes.append(node)
                known.update(node.output)
            else:
                waiting.append(node)
        if len(waiting) == len(pending):
            raise LabError(
                "ONNX Runtime's converter to float16 left nodes without inputs: export the network in float32."
            )
        pending = waiting
    del graph.node[:]
    graph.node.extend(nodes)


def _with_weights_in_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place: each weight in float16, and a cast before its first use, which the runtime does once when it loads the file."""
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            name, values = weight.name, numpy_helper.to_array(weight)
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/float16"))
            casts.append(helper.make_node("Cast", [weight.name], [name], f"{name}/cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


LOAD = (
    "import sys, onnxruntime; onnxruntime.InferenceSession(sys.stdin.buffer.read(), providers=['CPUExecutionProvider'])"
)
LOAD_S = 120.0


def check_loads(data: bytes) -> None:
    """Raises LabError for a file that ONNX Runtime cannot load. Tried in a separate process: some float16 files crash the
    process that loads them (ONNX Runtime 1.32, a Transformer with a class token)."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOAD], input=data, capture_output=True, timeout=LOAD_S, check=False
        )
        loads = done.returncode == 0
    except subprocess.TimeoutExpired:
        loads = False
    if not loads:
        raise LabError("ONNX Runtime cannot load this network in float16: choose float32.")
