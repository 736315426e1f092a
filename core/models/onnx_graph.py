"""A network that came as an ONNX graph, as layers of PyTorch: for gradients, and for pages that look into layers.

The graph is on the card, as JSON without weights; the weights are in the weights file as for all. `core.networks.convert`
writes the JSON. Operators are those of ONNX 13 and later: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from core.common.errors import LabError
from core.common.settings import Count, Settings
from core.common.values import read_json

INPUT, OUTPUT = "images", "logits"
MAX_NODES = 20_000
MAX_GRAPH_CHARACTERS = 3_000_000
MOST_VALUES = 2**28
"""Numbers in all tensors that are computed for one image: a card is small, and could ask for any amount."""


LARGEST_SIZE, LARGEST_POWER, MOST_SIZES = 2**40, 8, 1000
"""What a graph may compute of sizes."""


class OnnxGraphConfig(Settings):
    graph: Annotated[str, Field(max_length=MAX_GRAPH_CHARACTERS)]
    """Nodes, the shapes of weights, and constants, as JSON."""
    classes: Count
    """Number of labels."""
    image_size: Count
    """Height and width of the input, pixels."""
    one_by_one: bool = False
    """Whether the graph is of one image, so that several are answered one after the other."""


class Unsupported(ValueError):
    """A part of a graph for which there is no layer here; the text names it."""


class OnnxGraph(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, classes). Raises LabError for a graph that cannot be built."""

    def __init__(self, config: OnnxGraphConfig) -> None:
        super().__init__()
        self.one_by_one = config.one_by_one
        try:
            graph = read_json(config.graph)
            nodes, shapes, constants = graph["nodes"], graph["tensors"], graph["constants"]
            if len(nodes) > MAX_NODES:
                raise Unsupported(f"{len(nodes):,} nodes")
            self._build(nodes, {name: tuple(map(int, shape)) for name, shape in shapes.items()}, constants)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
            raise LabError(
                f"The graph of this network cannot be built in PyTorch ({str(error)[:80]}): get the checkpoint again."
            ) from error

    def _build(self, nodes: list[dict[str, Any]], shapes: dict[str, tuple[int, ...]], constants: Any) -> None:
        self.constants = constants
        self.layers = nn.ModuleDict()
        self.sources: dict[str, tuple[str, bool]] = {}
        """Name in the state dict -> the graph's own name for that tensor, and whether it lies transposed there."""
        self.unseen = tuple(dict.fromkeys(node["op"] for node in nodes if _bends(node, shapes, constants)))
        """Operators that are neither layers nor straight lines: what works layer by layer sees nothing of them."""
        self.steps: list[tuple[str, Callable[..., Any] | None, tuple[str, ...], tuple[str, ...]]] = []
        """Layer or empty, function or None, inputs, outputs."""
        nodes = _with_biases(nodes, shapes)
        for number, node in enumerate(nodes):
            found = _layer(node, shapes, constants)
            inputs, outputs = tuple(node["inputs"]), tuple(node["outputs"])
            if found is None:
                if node["op"] not in FUNCTIONS:
                    raise Unsupported(f"the operator {node['op']}")
                self.steps.append(
                    ("", _bound(FUNCTIONS[node["op"]], node["attributes"], len(outputs)), inputs, outputs)
                )
                continue
            module, weights = found
            name = self._name(node, weights, number)
            self.layers[name] = module
            self.sources |= {f"layers.{name}.{key}": where for key, where in weights.items()}
            self.steps.append((name, None, inputs[:1], outputs))
        used = {name for _, _, inputs, _ in self.steps for name in inputs}
        self.keys: dict[str, str] = {}
        for number, name in enumerate(sorted(used & shapes.keys())):
            self.keys[name] = f"tensor_{number}"
            self.register_parameter(f"tensor_{number}", nn.Parameter(torch.zeros(shapes[name])))
            self.sources[f"tensor_{number}"] = (name, False)
        self.last: dict[int, list[str]] = {}
        """Step -> what is not needed after it."""
        seen: set[str] = {OUTPUT}
        for number in range(len(self.steps) - 1, -1, -1):
            _, _, inputs, outputs = self.steps[number]
            self.last[number] = [name for name in dict.fromkeys((*inputs, *outputs)) if name and name not in seen]
            seen |= {*inputs, *outputs}

    def _name(self, node: dict[str, Any], weights: dict[str, tuple[str, bool]], number: int) -> str:
        """As its weight is called, where that is a name of PyTorch's kind: `layer1_0_conv1`."""
        given = weights.get("weight", ("", False))[0]
        stem = re.sub(r"\W+", "_", given.removesuffix(".weight")).strip("_")[:60] if given.endswith(".weight") else ""
        name = stem or f"{node['op'].lower()}_{number}"
        while name in self.layers or hasattr(self.layers, name):
            name = f"{name}_{number}"
        return name

    def forward(self, x: Tensor) -> Tensor:
        if self.one_by_one and isinstance(x, Tensor) and len(x) > 1:
            return torch.cat([self._answer(x[at : at + 1]) for at in range(len(x))])
        return self._answer(x)

    def _answer(self, x: Tensor) -> Tensor:
        values: dict[str, Any] = {INPUT: x}
        total, sizes_only = 0, isinstance(x, Tensor) and x.is_meta
        for number, (layer, function, inputs, outputs) in enumerate(self.steps):
            given = [self._value(name, values) for name in inputs]
            found = self.layers[layer](given[0]) if function is None else function(*given)
            for name, value in zip(outputs, found if len(outputs) > 1 else (found,), strict=False):
                values[name] = value
                if sizes_only and isinstance(value, Tensor):
                    total += value.numel()
            if sizes_only and total > MOST_VALUES * len(x):
                raise ValueError("the graph asks for more memory than any network here needs")
            for name in self.last[number]:
                values.pop(name, None)
        logits: Tensor = values[OUTPUT]
        return logits

    def _value(self, name: str, values: dict[str, Any]) -> Any:
        if not name:
            return None
        if name in values:
            return values[name]
        return getattr(self, self.keys[name]) if name in self.keys else self.constants[name]


def _with_biases(nodes: list[dict[str, Any]], shapes: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    """A matrix product with weights and the sum with a vector after it, as the one linear layer that they are."""
    users: dict[str, list[dict[str, Any]]] = {}
    for node in nodes:
        for name in node["inputs"]:
            users.setdefault(name, []).append(node)
    merged, gone = [], set()
    for node in nodes:
        if id(node) in gone:
            continue
        after = users.get(node["outputs"][0], [])
        if node["op"] == "MatMul" and len(after) == 1 and after[0]["op"] == "Add" and node["outputs"][0] != OUTPUT:
            weight = shapes.get(node["inputs"][1], ())
            bias = next(iter({*after[0]["inputs"]} - {node["outputs"][0]}), "")
            if len(weight) == 2 and shapes.get(bias) == weight[1:]:
                gone.add(id(after[0]))
                node = node | {"inputs": [*node["inputs"], bias], "outputs": after[0]["outputs"]}
        merged.append(node)
    return merged


def _bends(node: dict[str, Any], shapes: dict[str, tuple[int, ...]], constants: Any) -> bool:
    """Whether a node that is no layer is not linear in what it gets of the image."""
    if node["op"] in STRAIGHT or _layer(node, shapes, constants) is not None:
        return False
    fixed = [name in shapes or name in constants for name in node["inputs"]]
    factors = {"Mul": any(fixed), "Div": fixed[-1], "MatMul": any(fixed), "Gemm": fixed[1:2] == [True], "Conv": True}
    return not factors.get(node["op"], False)


_STRAIGHT = """Add AveragePool Cast Concat DepthToSpace Expand Flatten Gather Identity Neg Pad ReduceMean ReduceSum Reshape Resize
Shape Slice Split Squeeze Sub Sum Tile Transpose Unsqueeze"""
STRAIGHT = frozenset(_STRAIGHT.split())
"""Operators that are linear in all that they get."""
Layer = tuple[nn.Module, dict[str, tuple[str, bool]]]
"""A module, and of each of its tensors the name in the graph and whether it lies transposed there."""


def _layer(node: dict[str, Any], shapes: dict[str, tuple[int, ...]], constants: Any) -> Layer | None:
    """The layer of PyTorch that a node is; None where a function must do."""
    op, at, inputs = node["op"], node["attributes"], node["inputs"]
    plain = ACTIVATIONS.get(op)
    if plain is not None:
        return plain(at), {}
    weights = [shapes.get(name) for name in inputs[1:] if name]
    if op in WEIGHTED and weights and all(weights):
        return WEIGHTED[op](at, inputs, weights)
    if op in ("MaxPool", "AveragePool") and len(node["outputs"]) == 1:
        return _pool(op, at)
    if op == "ReduceMean" and sorted(_axes(at, constants, inputs)) in ([2, 3], [-2, -1]) and at.get("keepdims", 1):
        return nn.AdaptiveAvgPool2d(1), {}
    if op == "Clip" and [constants.get(name) for name in inputs[1:]] == [0, 6]:
        return nn.ReLU6(), {}
    if op == "HardSigmoid" and abs(6 * at.get("alpha", 0.2) - 1) < 1e-5 and at.get("beta", 0.5) == 0.5:
        return nn.Hardsigmoid(), {}
    if op == "Flatten" and at.get("axis", 1) == 1:
        return nn.Flatten(), {}
    return None


ACTIVATIONS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "Relu": lambda at: nn.ReLU(),
    "Sigmoid": lambda at: nn.Sigmoid(),
    "Tanh": lambda at: nn.Tanh(),
    "HardSwish": lambda at: nn.Hardswish(),
    "Gelu": lambda at: nn.GELU(at.get("approximate", "none")),
    "Elu": lambda at: nn.ELU(at.get("alpha", 1.0)),
    "Selu": lambda at: nn.SELU(),
    "LeakyRelu": lambda at: nn.LeakyReLU(at.get("alpha", 0.01)),
    "Softplus": lambda at: nn.Softplus(),
    "Mish": lambda at: nn.Mish(),
    "Softmax": lambda at: nn.Softmax(at.get("axis", -1)),
    "GlobalAveragePool": lambda at: nn.AdaptiveAvgPool2d(1),
    "GlobalMaxPool": lambda at: nn.AdaptiveMaxPool2d(1),
}


def _names(inputs: Sequence[str], names: Sequence[str], transposed: bool = False) -> dict[str, tuple[str, bool]]:
    return {key: (name, transposed and key == "weight") for key, name in zip(names, inputs[1:], strict=False) if name}


def _convolution(at: dict[str, Any], inputs: list[str], weights: list[Any]) -> Layer | None:
    shape, pads = weights[0], at.get("pads", [0, 0, 0, 0])
    if len(shape) != 4 or at.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or pads[:2] != pads[2:]:
        return None
    layer = nn.Conv2d(
        shape[1] * at.get("group", 1),
        shape[0],
        shape[2:],
        at.get("strides", (1, 1)),
        pads[:2],
        at.get("dilations", (1, 1)),
        at.get("group", 1),
        bias=len(weights) > 1,
    )
    return layer, _names(inputs, ("weight", "bias"))


def _linear(at: dict[str, Any], inputs: list[str], weights: list[Any]) -> Layer | None:
    transposed = not at.get("transB", 0)
    if len(weights[0]) != 2 or at.get("transA", 0) or at.get("alpha", 1.0) != 1.0 or at.get("beta", 1.0) != 1.0:
        return None
    outputs, width = reversed(weights[0]) if transposed else weights[0]
    if len(weights) > 1 and weights[1] != (outputs,):
        return None
    return nn.Linear(width, outputs, bias=len(weights) > 1), _names(inputs, ("weight", "bias"), transposed)


def _batch_norm(at: dict[str, Any], inputs: list[str], weights: list[Any]) -> Layer | None:
    layer = nn.BatchNorm2d(weights[0][0], eps=at.get("epsilon", 1e-5))
    setattr(layer, "_check_input_dim", _any_dimensions)  # noqa: B010 - it takes (N, C), too, in the same way
    return layer, _names(inputs, ("weight", "bias", "running_mean", "running_var"))


def _any_dimensions(_: Tensor) -> None:
    return


def _layer_norm(at: dict[str, Any], inputs: list[str], weights: list[Any]) -> Layer | None:
    if at.get("axis", -1) != -len(weights[0]) and at.get("axis", -1) != -1:
        return None
    layer = nn.LayerNorm(weights[0], eps=at.get("epsilon", 1e-5), bias=len(weights) > 1)
    return layer, _names(inputs, ("weight", "bias"))


def _group_norm(at: dict[str, Any], inputs: list[str], weights: list[Any]) -> Layer | None:
    """InstanceNormalization is one with a group for each channel."""
    channels = weights[0][0]
    groups = at.get("num_groups", channels)
    return nn.GroupNorm(groups, channels, eps=at.get("epsilon", 1e-5)), _names(inputs, ("weight", "bias"))


WEIGHTED: dict[str, Callable[[dict[str, Any], list[str], list[Any]], Layer | None]] = {
    "Conv": _convolution,
    "Gemm": _linear,
    "MatMul": _linear,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _group_norm,
}


def _pool(op: str, at: dict[str, Any]) -> Layer | None:
    kernel, pads = at["kernel_shape"], at.get("pads", [0, 0, 0, 0])
    fits = len(kernel) == 2 and pads[:2] == pads[2:] and at.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    if not fits or any(2 * pad > size for pad, size in zip(pads, kernel, strict=False)):
        return None
    strides, ceil = at.get("strides", [1, 1]), bool(at.get("ceil_mode", 0))
    if op == "MaxPool":
        return nn.MaxPool2d(kernel, strides, pads[:2], at.get("dilations", 1), ceil_mode=ceil), {}
    if at.get("dilations", [1, 1]) != [1, 1]:
        return None
    return nn.AvgPool2d(
        kernel, strides, pads[:2], ceil_mode=ceil, count_include_pad=bool(at.get("count_include_pad"))
    ), {}


def _axes(at: dict[str, Any], constants: Any, inputs: Sequence[str]) -> list[int]:
    found = at.get("axes") or (constants.get(inputs[1], []) if len(inputs) > 1 and inputs[1] else [])
    return [found] if isinstance(found, int) else list(found)


def _bound(function: Callable[..., Any], at: dict[str, Any], outputs: int) -> Callable[..., Any]:
    return lambda *inputs: function(at, outputs, *inputs)


def _whole(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _reshape(at: dict[str, Any], _: int, x: Any, shape: Any) -> Any:
    if at.get("allowzero") and 0 in _whole(shape):
        raise Unsupported("a reshape to an empty tensor")
    return x.reshape([x.shape[place] if size == 0 else size for place, size in enumerate(_whole(shape))])


def _slice(at: dict[str, Any], _: int, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    starts, ends = _whole(starts), _whole(ends)
    axes = range(len(starts)) if axes is None else _whole(axes)
    steps = [1] * len(starts) if steps is None else _whole(steps)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise Unsupported("a slice that goes backwards")
        place = [slice(None)] * x.ndim
        place[axis] = slice(start, None if end >= 2**31 - 1 else end, step)
        x = x[tuple(place)]
    return x


def _split(at: dict[str, Any], outputs: int, x: Tensor, sizes: Any = None) -> Any:
    axis = at.get("axis", 0)
    return x.split(_whole(sizes) if sizes is not None else math.ceil(x.shape[axis] / outputs), axis)


def _gather(at: dict[str, Any], _: int, x: Any, indices: Any) -> Any:
    axis = at.get("axis", 0)
    if isinstance(x, list):  # of sizes
        return [x[place] for place in _whole(indices)]
    if isinstance(indices, int):
        return x.select(axis, indices)
    where = torch.tensor(indices, device=x.device)
    where = torch.where(where < 0, where + x.shape[axis], where)
    found = x.index_select(axis, where.flatten())
    return found.reshape(*x.shape[:axis], *where.shape, *x.shape[axis + 1 :]) if axis >= 0 else found


def _pad(at: dict[str, Any], _: int, x: Tensor, pads: Any, value: Any = None, axes: Any = None) -> Tensor:
    pads, mode = _whole(pads), at.get("mode", "constant")
    axes = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in _whole(axes)]
    both = {axis: (pads[place], pads[place + len(axes)]) for place, axis in enumerate(axes)}
    flat = [size for axis in reversed(range(x.ndim)) for size in both.get(axis, (0, 0))]
    if mode == "constant":
        return F.pad(x, flat, value=0.0 if value is None else float(value))
    if mode not in ("reflect", "edge") or any(flat[4:]):
        raise Unsupported(f"padding {mode}")
    return F.pad(x, flat[:4], mode="reflect" if mode == "reflect" else "replicate")


def _resize(at: dict[str, Any], _: int, x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None) -> Tensor:
    mode, where = at.get("mode", "nearest"), at.get("coordinate_transformation_mode", "half_pixel")
    target: dict[str, Any] = {"size": _whole(sizes)[2:]} if sizes else {"scale_factor": scales[2:]}
    if mode == "linear" and where in ("half_pixel", "pytorch_half_pixel", "align_corners") and not at.get("antialias"):
        return F.interpolate(x, **target, mode="bilinear", align_corners=where == "align_corners")
    if mode == "nearest" and where == "asymmetric" and at.get("nearest_mode") == "floor":
        return F.interpolate(x, **target, mode="nearest")
    raise Unsupported(f"resizing {mode}, {where}")


def _convolve(at: dict[str, Any], _: int, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if weight.ndim != 4 or at.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unsupported("a convolution that is not of images")
    top, left, bottom, right = at.get("pads", [0, 0, 0, 0])
    x = F.pad(x, (left, right, top, bottom))
    return F.conv2d(x, weight, bias, at.get("strides", (1, 1)), 0, at.get("dilations", (1, 1)), at.get("group", 1))


def _padding(at: dict[str, Any], x: Tensor) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of what a pooling pads, with what it adds for a last window that begins within the image."""
    if at.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or x.ndim != 4:
        raise Unsupported("a pooling that pads by itself")
    found: list[int] = []
    for axis in (1, 0):
        near, far = (at.get("pads", [0, 0, 0, 0])[place] for place in (axis, axis + 2))
        stride, dilation = (at.get(name, [1, 1])[axis] for name in ("strides", "dilations"))
        size = x.shape[2 + axis]
        room = size + near + far - dilation * (at["kernel_shape"][axis] - 1) - 1
        if at.get("ceil_mode"):
            steps = -(-room // stride)
            steps -= steps * stride >= size + near
            far += max(steps * stride - room, 0)
        found += [near, far]
    left, right, top, bottom = found
    return left, right, top, bottom


def _max_pool_uneven(at: dict[str, Any], _: int, x: Tensor) -> Tensor:
    x = F.pad(x, _padding(at, x), value=-math.inf)
    return F.max_pool2d(x, at["kernel_shape"], at.get("strides", [1, 1]), 0, at.get("dilations", 1))


def _average_pool_uneven(at: dict[str, Any], _: int, x: Tensor) -> Tensor:
    """A sum over each window, divided by how much of it counts: the image, and what is padded where the graph says so."""
    if at.get("dilations", [1, 1]) != [1, 1]:
        raise Unsupported("an average over a window with gaps")
    added = _padding(at, x)
    counted = torch.ones_like(x[:1, :1])
    if at.get("count_include_pad"):
        top, left, bottom, right = at.get("pads", [0, 0, 0, 0])
        counted = F.pad(counted, (left, right, top, bottom), value=1.0)
        rest = (0, added[1] - right, 0, added[3] - bottom)
    else:
        rest = added
    window = (at["kernel_shape"], at.get("strides", [1, 1]))
    total = F.avg_pool2d(F.pad(x, added), *window, divisor_override=1)
    return total / F.avg_pool2d(F.pad(counted, rest), *window, divisor_override=1)


def _product(at: dict[str, Any], _: int, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a, b = (a.T if at.get("transA") else a), (b.T if at.get("transB") else b)
    found = at.get("alpha", 1.0) * (a @ b)
    return found if c is None else found + at.get("beta", 1.0) * c


def _reduce(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduced(at: dict[str, Any], _: int, x: Tensor, axes: Any = None) -> Tensor:
        found = at.get("axes") if axes is None else _whole(axes)
        return function(x, dim=tuple(found or range(x.ndim)), keepdim=bool(at.get("keepdims", 1)))

    return reduced


def _squeeze(at: dict[str, Any], _: int, x: Any, axes: Any = None) -> Any:
    found = at.get("axes") if axes is None else _whole(axes)
    return x.squeeze() if found is None else x.squeeze(tuple(found))


def _unsqueeze(at: dict[str, Any], _: int, x: Any, axes: Any = None) -> Any:
    found = _whole(at["axes"] if axes is None else axes)
    for axis in sorted(axis % (x.ndim + len(found)) for axis in found):
        x = x.unsqueeze(axis)
    return x


def _concat(at: dict[str, Any], _: int, *parts: Any) -> Any:
    if all(isinstance(part, list | tuple) for part in parts):
        if sum(map(len, parts)) > MOST_SIZES:
            raise Unsupported("a list of that length")
        return [size for part in parts for size in part]
    return torch.cat(parts, at["axis"])


def _shape(at: dict[str, Any], _: int, x: Tensor) -> list[int]:
    return list(x.shape)[at.get("start", 0) : at.get("end")]


def _hard_sigmoid(at: dict[str, Any], _: int, x: Tensor) -> Tensor:
    return (at.get("alpha", 0.2) * x + at.get("beta", 0.5)).clamp(0, 1)


def _lrn(at: dict[str, Any], _: int, x: Tensor) -> Tensor:
    return F.local_response_norm(x, at["size"], at.get("alpha", 1e-4), at.get("beta", 0.75), at.get("bias", 1.0))


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda at, outputs, *inputs: function(*inputs)


def bounded(function: Callable[[Any, Any], Any], most: int = LARGEST_SIZE) -> Callable[[Any, Any], Any]:
    """For tensors, and for small numbers such as sizes, the second up to `most`: Python would compute with numbers of any length,
    and hold up all threads meanwhile."""

    def run(a: Any, b: Any) -> Any:
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            limits = ((a, LARGEST_SIZE), (b, most))
            if not all(isinstance(value, int | float) and abs(value) <= limit for value, limit in limits):
                raise Unsupported("arithmetic on numbers that are no sizes")
        return function(a, b)

    return run


TYPES = {1: torch.float32, 11: torch.float64, 6: torch.int32, 7: torch.int64, 9: torch.bool}
"""By ONNX's numbers for them."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": _plain(bounded(lambda a, b: a + b)),
    "Sub": _plain(bounded(lambda a, b: a - b)),
    "Mul": _plain(bounded(lambda a, b: a * b)),
    "Div": _plain(bounded(lambda a, b: a / b)),
    "Pow": _plain(bounded(lambda a, b: a**b, LARGEST_POWER)),
    "Sum": _plain(lambda *parts: reduce(bounded(lambda a, b: a + b), parts)),
    "Max": _plain(lambda *parts: reduce(torch.maximum, parts)),
    "Min": _plain(lambda *parts: reduce(torch.minimum, parts)),
    "Neg": _plain(torch.neg),
    "Abs": _plain(torch.abs),
    "Sqrt": _plain(torch.sqrt),
    "Exp": _plain(torch.exp),
    "Log": _plain(torch.log),
    "Erf": _plain(torch.erf),
    "Reciprocal": _plain(torch.reciprocal),
    "Identity": _plain(lambda x: x),
    "Cast": lambda at, _, x: x.to(TYPES[at["to"]]) if isinstance(x, Tensor) else x,
    "Where": _plain(torch.where),
    "Equal": _plain(lambda a, b: a == b),
    "Greater": _plain(lambda a, b: a > b),
    "GreaterOrEqual": _plain(lambda a, b: a >= b),
    "Less": _plain(lambda a, b: a < b),
    "LessOrEqual": _plain(lambda a, b: a <= b),
    "Not": _plain(torch.logical_not),
    "And": _plain(torch.logical_and),
    "Tile": _plain(lambda x, repeats: x.repeat(*_whole(repeats))),
    "MatMul": _plain(torch.matmul),
    "Gemm": _product,
    "Einsum": lambda at, _, *parts: torch.einsum(at["equation"], *parts),
    "Conv": _convolve,
    "MaxPool": _max_pool_uneven,
    "AveragePool": _average_pool_uneven,
    "PRelu": _plain(lambda x, slope: torch.where(x < 0, slope * x, x)),
    "Clip": _plain(lambda x, low=None, high=None: x.clamp(low, high)),
    "HardSigmoid": _hard_sigmoid,
    "LogSoftmax": lambda at, _, x: torch.log_softmax(x, at.get("axis", -1)),
    "LRN": _lrn,
    "Flatten": lambda at, _, x: x.reshape(math.prod(x.shape[: at.get("axis", 1)]), -1),
    "Reshape": _reshape,
    "Transpose": lambda at, _, x: x.permute(at.get("perm") or tuple(reversed(range(x.ndim)))),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Expand": _plain(lambda x, shape: x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(shape)))),
    "Shape": _shape,
    "Pad": _pad,
    "Resize": _resize,
    "DepthToSpace": lambda at, _, x: _depth_to_space(at, x),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMin": _reduce(torch.amin),
    "ReduceL2": _reduce(torch.linalg.vector_norm),
}
"""Operators that are no layer of PyTorch: attributes, number of outputs and inputs to what they give."""


def _depth_to_space(at: dict[str, Any], x: Tensor) -> Tensor:
    if at.get("mode", "DCR") != "CRD":
        raise Unsupported("DepthToSpace in the order DCR")
    return F.pixel_shuffle(x, at["blocksize"])
