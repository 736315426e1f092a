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
from core.networks.folding import PREFIX

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
    nodes: list[dict[str, Any]] = [
        {
            "op": node.op_type,
            "inputs": list(node.input),
            "outputs": list(node.output),
            "attributes": {item.name: _attribute(helper.get_attribute_value(item)) for item in node.attribute},
        }
        for node in graph.node
    ]
    described = {
        "nodes": _with_group_norms(nodes, weights),
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


def _with_group_norms(nodes: list[dict[str, Any]], weights: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Normalising channels in groups, scaling and shifting them as the one layer that they are. weights: given vectors for it."""
    users: dict[str, list[dict[str, Any]]] = {}
    for node in nodes:
        for name in node["inputs"]:
            users.setdefault(name, []).append(node)
    gone: set[int] = set()
    merged: dict[int, dict[str, Any]] = {}
    for first in nodes:
        chain = [first]
        for op in ("InstanceNormalization", "Reshape", "Mul", "Add"):
            after = users.get(chain[-1]["outputs"][0], [])
            if len(after) != 1 or after[0]["op"] != op:
                break
            chain.append(after[0])
        if first["op"] != "Reshape" or len(chain) < 5:
            continue
        norm, (scale, bias) = chain[1], (_vector(node, weights) for node in chain[3:])
        ones, zeros = (weights.get(name) for name in norm["inputs"][1:3])
        if ones is None or zeros is None or (ones != 1).any() or zeros.any():
            continue
        if (
            scale is None
            or bias is None
            or len(weights[scale]) != len(weights[bias])
            or len(weights[scale]) % len(ones)
        ):
            continue
        gone |= {id(node) for node in chain}
        merged[id(chain[-1])] = {
            "op": "GroupNormalization",
            "inputs": [first["inputs"][0], scale, bias],
            "outputs": chain[-1]["outputs"],
            "attributes": norm["attributes"] | {"num_groups": len(ones)},
        }
    return [merged.get(id(node), node) for node in nodes if id(node) in merged or id(node) not in gone]


def _vector(node: dict[str, Any], weights: dict[str, np.ndarray]) -> str | None:
    """Name of the (C, 1, 1) that a node takes, once more as (C,) among the weights; None where it takes none."""
    name = next((name for name in node["inputs"] if name in weights and weights[name].shape[1:] == (1, 1)), None)
    if name is None:
        return None
    flat = f"{PREFIX}flat_{name}"
    weights[flat] = weights[name].reshape(-1)
    return flat


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
