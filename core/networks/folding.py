"""What a graph computes from sizes alone, computed once: as constants, or as lists in which the batch is left open.

So the sizes of all its tensors are known beforehand, which bounds memory, and PyTorch can follow.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from core.common.errors import LabError
from core.inference.onnx_network import session_options

BATCHES = (2, 3)
"""For which what depends on sizes is computed."""
PREFIX = "form_"
"""Of the names of all tensors that are added to a graph."""
BATCH, SIZES, FIRST = f"{PREFIX}batch", f"{PREFIX}sizes", f"{PREFIX}first"
MOST_FOLDED = 2**24
"""Numbers in a constant that replaces nodes."""


def open_session(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = session_options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception class for each of its codes, and no common base
        raise LabError(f"ONNX Runtime does not accept the file ({why(error)}): export the network again.") from error


def why(error: Exception) -> str:
    """ONNX Runtime's error in a few words."""
    text = " ".join(str(error).split())
    if "alloc" in text.lower():
        return "it asks for more memory than a check may take"
    text = text.rpartition("Status Message: ")[2]
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)[:80] or type(error).__name__


def fold(model: onnx.ModelProto, given: list[int], *, free: bool) -> onnx.ModelProto:
    """The graph without what depends on sizes alone: that is computed for two batches, and put in as constants, or as a list in
    which the batch is left open. given: sizes of an image."""
    graph, source = model.graph, model.graph.input[0].name
    from_pixels = {source}
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") and from_pixels & {*node.input}:
            from_pixels.update(node.output)
    if lost := {item.name for item in graph.output} - from_pixels:
        raise LabError(f"The result {min(lost)[:40]} does not depend on the image: export the network again.")
    known = [name for node in graph.node for name in node.output if name and name not in from_pixels]
    if not known:
        return model
    batches = BATCHES if free else (1, 1)
    first, second = (_values(model, known, np.zeros((batch, *given), np.float32)) for batch in batches)
    folding = _Folding(graph, first, second)
    after = [node for node in graph.node if from_pixels & {*node.output}]
    for node in after:
        for name in node.input:
            folding.keep(name)
    folding.constant(FIRST, np.array([0], np.int64))
    size_of = [helper.make_node("Shape", [source], [SIZES]), helper.make_node("Gather", [SIZES, FIRST], [BATCH])]
    del graph.node[:]
    graph.node.extend(_in_order([*size_of, *folding.nodes.values(), *after], {source, *_names(graph)}))
    drop_unused(graph)
    return model


class _Folding:
    """Puts tensors that no pixel changes into a graph as constants, as far as they are the same for both batches."""

    def __init__(self, graph: onnx.GraphProto, first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
        """first, second: the tensors, for each of BATCHES."""
        self.graph, self.first, self.second = graph, first, second
        self.makers = {name: node for node in graph.node for name in node.output}
        self.reshaped = _only_reshaped(graph)
        self.nodes: dict[int, onnx.NodeProto] = {}
        """Those that are still needed."""
        self.done: set[str] = set()

    def constant(self, name: str, values: np.ndarray) -> None:
        self.graph.initializer.append(numpy_helper.from_array(values, name))

    def keep(self, name: str) -> None:
        """See that a tensor is there: as a constant, as a list of sizes, or computed as before."""
        if name not in self.first or name in self.done:
            return
        self.done.add(name)
        first, second = self.first[name], self.second[name]
        place = _batch_place(first, second)
        if first.shape == second.shape and np.array_equal(first, second) and first.size <= MOST_FOLDED:
            self.constant(name, first)
        elif place is not None and name in self.reshaped and first.min() > 0:
            self.constant(name, np.where(np.arange(len(first)) == place, -1, first))
        elif place is not None and first[place] == BATCHES[0]:
            parts = [BATCH if at == place else f"{PREFIX}{at}_{name}" for at in range(len(first))]
            for at in {*range(len(first))} - {place}:
                self.constant(parts[at], first[at : at + 1])
            node = helper.make_node("Concat", parts, [name], axis=0)
            self.nodes[id(node)] = node
        else:
            node = self.makers[name]
            self.nodes[id(node)] = node
            for part in node.input:
                self.keep(part)


def _names(graph: onnx.GraphProto) -> set[str]:
    return {item.name for item in graph.initializer}


def _only_reshaped(graph: onnx.GraphProto) -> set[str]:
    """What is used as the target of reshapes, and for nothing else."""
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    return targets - {
        name for node in graph.node for at, name in enumerate(node.input) if (node.op_type, at) != ("Reshape", 1)
    }


def _in_order(nodes: list[onnx.NodeProto], known: set[str]) -> list[onnx.NodeProto]:
    """Each after those that make its inputs."""
    done, ordered, rest = {"", *known}, [], nodes
    while rest:
        ready = [node for node in rest if done.issuperset(node.input)]
        if not ready:
            raise LabError("The graph uses what nothing in it makes: export the network again.")
        ordered += ready
        done.update(name for node in ready for name in node.output)
        rest = [node for node in rest if not done.issuperset(node.output)]
    return ordered


def _values(model: onnx.ModelProto, names: list[str], inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What a graph computes on the way."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.output[:]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    drop_unused(made.graph)  # the weights among it
    session = open_session(made)
    try:
        return dict(zip(names, session.run(names, {made.graph.input[0].name: inputs}), strict=True))
    except Exception as error:
        raise LabError(f"ONNX Runtime cannot run the file ({why(error)}): export the network again.") from error


def _batch_place(first: np.ndarray, second: np.ndarray) -> int | None:
    """Where in two lists of sizes, for batches of 2 and of 3, a multiple of the batch stands, all else being equal."""
    if first.ndim != 1 or first.shape != second.shape or first.dtype != np.int64:
        return None
    differ = np.flatnonzero(first != second)
    return int(differ[0]) if len(differ) == 1 and 3 * first[differ[0]] == 2 * second[differ[0]] else None


def drop_unused(graph: onnx.GraphProto) -> None:
    needed = {item.name for item in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & {*node.output}:
            kept.append(node)
            needed.update(node.input)
    weights = [item for item in graph.initializer if item.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)
