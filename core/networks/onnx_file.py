"""An ONNX file as it comes: what is in it, and whether it can be taken. Nothing in it is run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper

from core.checkpoints.store import MAX_ONNX_BYTES
from core.checkpoints.validation import MAX_IMAGE_SIZE
from core.common.errors import LabError
from core.common.values import finite, read_json
from core.compression.onnx.graph import IMAGES
from core.inference.onnx_network import OPERATORS
from core.models.onnx_graph import MAX_NODES
from core.networks.choices import MAX_CLASSES

OLDEST_OPSET = 13
"""Files of an older one are brought to it."""
MIN_IMAGE_SIZE = 8
MORE = frozenset({"Constant", "Dropout", "Identity", "Range", "Size", "Xor", "EyeLike", "Sin", "Cos"})
"""Operators that must be gone, or computed once, before a file is kept."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a file says of itself."""

    operators: dict[str, int]
    """Operator -> how many."""
    parameters: int
    input: str
    """Shape, for people: `batch × 3 × 224 × 224 float32`."""
    output: str
    layout: str
    """`NCHW`, `NHWC`; empty where the shape does not tell."""
    channels: int
    """1 or 3."""
    size: int
    """Height and width; 0 where they are free."""
    classes: int
    """0 where the shape does not tell."""
    names: tuple[str, ...]
    """Class names out of the metadata."""
    mean: tuple[float, ...]
    """Normalisation out of the metadata, of pixels from 0 to 1; empty where it is not there."""
    std: tuple[float, ...]
    softmax: bool
    """Whether it gives probabilities, by a softmax at its end."""


def read_file(data: bytes) -> onnx.ModelProto:
    """The graph, structure checked: nothing in it has been run. Raises LabError."""
    if not data or len(data) > MAX_ONNX_BYTES:
        raise LabError(f"The ONNX file has {len(data):,} bytes: it must have 1 to {MAX_ONNX_BYTES:,}.")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # the error class of protobuf depends on its backend
        raise LabError(
            "This is no ONNX file, no file of weights and no checkpoint that can be read: export it again."
        ) from error
    if any(item.data_location == onnx.TensorProto.EXTERNAL for item in _tensors(model)):
        raise LabError("The weights are in another file (external data): save the network as one file.")
    try:
        if len(model.functions):
            model = inliner.inline_local_functions(model)
        model = _up_to_date(model)
    except LabError:
        raise
    except Exception as error:
        raise LabError(f"The ONNX file is damaged ({type(error).__name__}): export the network again.") from error
    graph = model.graph
    if not graph.node or len(graph.node) > MAX_NODES:
        raise LabError(f"The graph has {len(graph.node):,} operators: it must have 1 to {MAX_NODES:,}.")
    foreign = sorted({node.domain for node in graph.node} - {"", "ai.onnx"})
    if foreign:
        op = next(node.op_type for node in graph.node if node.domain == foreign[0])
        raise LabError(
            f"The operator {op[:40]} of {foreign[0][:40]} is not one of ONNX itself: export the network with standard operators."
        )
    known = OPERATORS[IMAGES] | MORE
    unknown = sorted({node.op_type for node in graph.node} - known)
    if unknown:
        raise LabError(
            f"The operator {unknown[0][:40]} is not supported here: only networks without loops, branches and random numbers are."
        )
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        raise LabError("The graph has a graph within it, as loops and branches have: export the network without.")
    if len(graph.sparse_initializer):
        raise LabError("The graph has sparse weights: export it with dense ones.")
    _take_constants(model)
    return model


def _tensors(model: onnx.ModelProto) -> Iterable[onnx.TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _up_to_date(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST_OPSET:
        try:
            return onnx.version_converter.convert_version(model, OLDEST_OPSET)
        except Exception as error:
            raise LabError(
                f"The file is written in opset {opset}, too old to convert: export it with opset {OLDEST_OPSET} or newer."
            ) from error
    return model


def _take_constants(model: onnx.ModelProto) -> None:
    """Constants become weights; what hands on its input in a network that is not trained goes."""
    graph, kept = model.graph, []
    aliases: dict[str, str] = {}
    outputs = {item.name for item in graph.output}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = aliases.get(name, name)
        if node.op_type == "Constant":
            graph.initializer.append(_constant(node))
        elif node.op_type in ("Identity", "Dropout") and node.output[0] not in outputs:
            aliases[node.output[0]] = node.input[0]
        elif node.op_type == "Dropout":
            kept.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    weights = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in weights]  # older files list weights among inputs
    del graph.input[:]
    graph.input.extend(inputs)


def _constant(node: onnx.NodeProto) -> onnx.TensorProto:
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            made = onnx.TensorProto()
            made.CopyFrom(value)
            made.name = node.output[0]
            return made
        if attribute.name in ("value_float", "value_floats"):
            return numpy_helper.from_array(np.array(value, np.float32), node.output[0])
        if attribute.name in ("value_int", "value_ints"):
            return numpy_helper.from_array(np.array(value, np.int64), node.output[0])
    raise LabError("The graph has a constant that holds no numbers: export the network again.")


MOST_NAME = 20
"""Characters of a dimension's name."""


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    """Sizes; a name or `?` for one that is free."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else (dim.dim_param[:MOST_NAME] or "?") for dim in dims]


def shape_words(value: onnx.ValueInfoProto) -> str:
    kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower().replace("float", "float32", 1)
    kind = {"float3216": "float16"}.get(kind, kind)
    sizes = ["N" if at == 0 and isinstance(size, str) else str(size) for at, size in enumerate(shape_of(value))]
    return f"{' × '.join(sizes) or 'one number'} {kind}"


def facts_of(model: onnx.ModelProto) -> Facts:
    """What the file says, and whether its input and output can be taken. Raises LabError where they cannot."""
    graph = model.graph
    if len(graph.input) != 1:
        names = ", ".join(item.name[:20] for item in graph.input[:4]) or "none"
        raise LabError(f"The network takes {len(graph.input)} inputs ({names}): one is needed, images.")
    given, shape = graph.input[0], shape_of(graph.input[0])
    if given.type.tensor_type.elem_type != onnx.TensorProto.FLOAT or len(shape) != 4:
        raise LabError(
            f"It takes {shape_words(given)}: images of batch, channels, height and width in float32 are needed."
        )
    layouts = [name for name, place in (("NCHW", 1), ("NHWC", 3)) if shape[place] in (1, 3)]
    sides = {"NCHW": shape[2:], "NHWC": shape[1:3]}
    if not layouts and not any(isinstance(shape[place], str) for place in (1, 3)):
        raise LabError(f"The network takes {shape_words(given)}: images with one or three channels are needed.")
    layout = layouts[0] if len(layouts) == 1 else ""
    sizes = [size for size in sides[layout or "NCHW"] if isinstance(size, int)]
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        raise LabError(f"The network takes images of {sizes[1]}×{sizes[0]} pixels: only square ones are taken here.")
    if sizes and not MIN_IMAGE_SIZE <= sizes[0] <= MAX_IMAGE_SIZE:
        raise LabError(
            f"The network takes images of {sizes[0]:,} pixels: {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} can be given here."
        )
    channels = shape[3 if layout == "NHWC" else 1]
    output = output_of(model)
    last = shape_of(output)[1:2]
    classes = last[0] if last and isinstance(last[0], int) else 0
    check_classes(classes)
    about = {item.key: item.value for item in model.metadata_props}
    return Facts(
        operators=_count(node.op_type for node in graph.node),
        parameters=sum(math.prod(item.dims) for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT),
        input=shape_words(given),
        output=shape_words(output),
        layout=layout,
        channels=channels if isinstance(channels, int) else 3,
        size=sizes[0] if sizes else 0,
        classes=classes,
        names=_class_names(about, classes),
        mean=_three(about, "mean"),
        std=_three(about, "std"),
        softmax=softmax_end(graph) is not None,
    )


def check_classes(classes: int) -> None:
    if classes > MAX_CLASSES:
        raise LabError(f"The network answers with {classes:,} classes: at most {MAX_CLASSES:,} can be shown here.")
    if classes == 1:
        raise LabError(
            "The network answers with one number for an image: one for each of at least two classes is needed."
        )


def _count(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _class_names(about: dict[str, str], classes: int) -> tuple[str, ...]:
    """Out of metadata as this lab, Ultralytics and timm's exporters write it."""
    import ast

    for key in ("labels", "classes", "class_names", "names"):
        try:
            found = ast.literal_eval(about.get(key, "")[:200_000])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        values = found
        if isinstance(found, dict):
            numbered = {int(key): value for key, value in found.items() if str(key).isdecimal()}
            values = [numbered.get(number) for number in range(len(found))]
        if (
            isinstance(values, list | tuple)
            and len(values) == classes
            and all(isinstance(each, str) for each in values)
        ):
            return tuple(values)
    return ()


def _three(about: dict[str, str], key: str) -> tuple[float, ...]:
    """Three numbers as JSON."""
    try:
        found = read_json(about.get(key, "")[:1000])
    except (ValueError, RecursionError):
        return ()
    fits = isinstance(found, list) and len(found) == 3 and all(finite(value) for value in found)
    return tuple(map(float, found)) if fits else ()


def output_of(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one result that can be logits: (N, classes), or with sizes of 1 behind. Raises LabError."""
    outputs = list(model.graph.output)
    if len(outputs) > 1:
        fitting = [
            item
            for item in outputs
            if item.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and len(shape_of(item)) == 2
        ]
        if len(fitting) != 1:
            raise LabError(
                f"The network gives {len(outputs):,} results: exactly one, with a number for each class, is needed."
            )
        return fitting[0]
    (only,) = outputs or [None]
    if only is None or only.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise LabError("The network gives no float32 result: one with a number for each class is needed.")
    shape = shape_of(only)
    if shape and (len(shape) < 2 or any(size != 1 for size in shape[2:] if isinstance(size, int))):
        raise LabError(f"The network gives {shape_words(only)}: a classifier gives batch × classes.")
    return only


def softmax_end(graph: onnx.GraphProto) -> onnx.NodeProto | None:
    """The softmax over classes that gives the result."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name) if len(graph.output) == 1 else None
    while node is not None and node.op_type == "Identity":
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Softmax":
        return None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
    return node if axis in (-1, 1) else None
