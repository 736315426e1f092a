"""An ONNX file in the lab's form as a network of PyTorch, with the same answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from core.common.errors import LabError
from core.inference.onnx_network import OnnxNetwork
from core.models.onnx_graph import OnnxGraph, OnnxGraphConfig
from core.networks.compare import difference

COMPARED = 4
"""Random images."""
SETTINGS = {"Resize": (1, 2, 3), "Clip": (1, 2), "Pad": (1, 2, 3)}
"""Operator -> inputs that are numbers to compute with sizes or ranges, and no weights."""


def convert(model: onnx.ModelProto, classes: int, image_size: int) -> tuple[OnnxGraph, dict[str, Any], float]:
    """The network, its settings, and the largest difference of its logits from ONNX Runtime's. Raises LabError for one that
    cannot be converted, or answers otherwise."""
    graph = model.graph
    settings = {
        name for node in graph.node for at, name in enumerate(node.input) if at in SETTINGS.get(node.op_type, ())
    }
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    weights = {
        name: value for name, value in arrays.items() if value.dtype.kind == "f" and value.ndim and name not in settings
    }
    nodes = [
        {
            "op": node.op_type,
            "inputs": list(node.input),
            "outputs": list(node.output),
            "attributes": {item.name: _attribute(helper.get_attribute_value(item)) for item in node.attribute},
        }
        for node in graph.node
    ]
    described = {
        "nodes": nodes,
        "tensors": {name: list(value.shape) for name, value in weights.items()},
        "constants": {name: value.tolist() for name, value in arrays.items() if name not in weights},
    }
    config: dict[str, Any] = {
        "graph": json.dumps(described, separators=(",", ":")),
        "classes": classes,
        "image_size": image_size,
        "one_by_one": graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1,
    }
    try:
        network = OnnxGraph(OnnxGraphConfig(**config))
    except LabError as error:
        raise LabError(f"there is no layer here for {str(error.__cause__ or error)[:80]}") from error
    state = {}
    for key, (name, transposed) in network.sources.items():
        value = torch.from_numpy(np.array(weights[name], np.float32))
        state[key] = value.T.contiguous() if transposed else value
    for key, value in network.state_dict().items():  # how many batches a norm has seen
        state.setdefault(key, value)
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    return network, config, _difference(model, network, image_size)


def _attribute(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if isinstance(value, list | tuple) else value


@torch.no_grad()
def _difference(model: onnx.ModelProto, network: OnnxGraph, side: int) -> float:
    images = np.random.default_rng(1).standard_normal((COMPARED, 3, side, side), dtype=np.float32)
    wanted = OnnxNetwork(model.SerializeToString()).logits(images)
    try:
        found = network(torch.from_numpy(images)).numpy()
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise LabError(f"its graph does not run in PyTorch: {(str(error).splitlines() or [''])[0][:80]}") from error
    largest, same = difference(found, wanted)
    if not same:
        raise LabError(f"its conversion to PyTorch answers otherwise, by {largest:.1g}")
    return largest
