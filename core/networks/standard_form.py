"""An ONNX file brought to the lab's form: `images` (N, 3, S, S) float32, normalised, to `logits` (N, classes).

Runs in a separate process, see core.networks.worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from core.common.errors import LabError
from core.compression.onnx.graph import IMAGES, LOGITS, without_notes
from core.inference.onnx_network import OnnxNetwork
from core.networks.choices import Choices
from core.networks.compare import difference
from core.networks.folding import BATCHES, PREFIX, drop_unused, fold, open_session, why
from core.networks.onnx_file import check_classes, facts_of, output_of, read_file, shape_of, softmax_end

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R 601-2), as Pillow has them."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StandardForm:
    """A file in the lab's form."""

    model: onnx.ModelProto
    classes: int
    difference: float
    """Largest absolute difference of logits from the file as it came."""
    notes: tuple[str, ...]
    """What was changed, in sentences."""


def to_standard_form(data: bytes, choices: Choices) -> StandardForm:
    """Raises LabError."""
    model = read_file(data)
    _free_names(model.graph)
    _split_group_norms(model)
    facts = facts_of(model)
    size = facts.size or choices.input_size
    if not size:
        raise LabError("The file does not say how large its images are: say it, in pixels.")
    layout = facts.layout or choices.layout
    given = [size, size, facts.channels] if layout == "NHWC" else [facts.channels, size, size]
    notes = []
    fixed = shape_of(model.graph.input[0])[0] == 1
    kept_output = output_of(model).name
    for item in list(model.graph.output):
        if item.name != kept_output:
            model.graph.output.remove(item)
            notes.append("Of its results only the one with a number for each class is used.")
    original = _sized(model, ["N", *given])
    asked = _Original(original if not fixed else _sized(model, [1, *given]), one=fixed)
    inputs = np.random.default_rng(0).standard_normal((3, *given), dtype=np.float32)
    wanted = asked(inputs)
    if wanted.ndim != 2 or not np.isfinite(wanted).all():
        raise LabError("The network does not answer random images with finite numbers for classes: export it again.")
    classes = wanted.shape[1]
    check_classes(classes)
    end = softmax_end(original.graph)
    if end is not None:
        notes.append("The softmax at its end is taken off: the lab computes probabilities itself.")
    elif (wanted >= 0).all() and np.allclose(wanted.sum(1), 1, atol=1e-3):
        notes.append(
            "Its answers sum to 1, so they are probabilities. The lab takes them for logits, so its own come out too even."
        )
    free = _free(original, fixed, asked, inputs, wanted)
    del asked  # a session holds the weights twice
    batch: int | str = "N" if free is not None else 1
    if batch == 1:
        notes.append("Its graph fixes the batch at one image, so images are answered one at a time.")
    whole = fold(free if free is not None else _sized(model, [1, *given]), given, free=free is not None)
    form: dict[str, Any] = {"size": size, "layout": layout, "channels": facts.channels, "batch": batch}
    plain = _with_form(whole, 0, **form)
    largest = _compare(plain, wanted, inputs, layout, softmax=end is not None)
    enlarged = choices.image_size not in (0, size)
    made = _with_form(whole, choices.image_size, **form) if enlarged else plain
    if facts.channels == 1:
        notes.append("It takes grey images: red, green and blue are weighted as in ITU-R 601.")
    if enlarged:
        notes.append(f"Images of {choices.image_size} pixels are brought to the {size} that it takes.")
    return StandardForm(model=made, classes=classes, difference=largest, notes=tuple(dict.fromkeys(notes)))


def _sized(model: onnx.ModelProto, shape: list[int | str]) -> onnx.ModelProto:
    """A copy whose input has that shape, and whose results have none that is believed."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info(made.graph.input[0].name, onnx.TensorProto.FLOAT, shape))
    made.graph.ClearField("value_info")
    for item in made.graph.output:
        item.type.tensor_type.ClearField("shape")
    return made


class _Original:
    """The file as it came, asked for logits (N, classes)."""

    def __init__(self, model: onnx.ModelProto, *, one: bool) -> None:
        """one: it takes one image at a time."""
        self.session, self.one = open_session(model), one
        self.name = model.graph.input[0].name

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        parts = [inputs[at : at + 1] for at in range(len(inputs))] if self.one else [inputs]
        try:
            found = [self.session.run(None, {self.name: part})[0] for part in parts]
        except Exception as error:
            raise LabError(
                f"The network does not run on images of this size ({why(error)}): choose another."
            ) from error
        joined = np.concatenate(found)
        return joined.reshape(len(inputs), -1) if joined.shape[:1] == (len(inputs),) else joined


def _free(
    original: onnx.ModelProto,
    fixed: bool,
    asked: Callable[[np.ndarray], np.ndarray],
    inputs: np.ndarray,
    wanted: np.ndarray,
) -> onnx.ModelProto | None:
    """The graph with its batch free, in place; None where that gives other answers than one image at a time. wanted: the file's
    answers to the inputs."""
    if fixed:  # reshapes to (1, ...) keep what batch there is instead
        shapes = {node.input[1] for node in original.graph.node if node.op_type == "Reshape"}
        for item in original.graph.initializer:
            if item.name in shapes and len(item.dims) == 1 and item.dims[0] >= 2:
                values = numpy_helper.to_array(item).copy()
                if values[0] == 1:
                    values[0] = 0
                    item.CopyFrom(numpy_helper.from_array(values, item.name))
    try:
        together, alone = (_Original(original, one=False)(inputs), wanted) if fixed else (wanted, asked(inputs[:1]))
    except LabError:
        return None
    _, same = difference(together[: len(alone)], alone)
    return original if same else None


def _with_form(
    model: onnx.ModelProto, image_size: int, *, size: int, layout: str, channels: int, batch: int | str
) -> onnx.ModelProto:
    """The graph between `images` (N, 3, S, S) and `logits` (N, classes). image_size: S, where it is not `size`; else 0."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    end = softmax_end(graph)
    source, result = graph.input[0].name, end.input[0] if end is not None else graph.output[0].name
    if end is not None:
        del graph.output[:]
        graph.output.extend([onnx.ValueInfoProto(name=result)])
        drop_unused(graph)
    side, before, current = image_size or size, [], IMAGES
    if side != size:
        before += _enlarging(graph, current, size)
        current = "form_enlarged"
    if channels == 1:
        weights = np.array(GREY, np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(numpy_helper.from_array(weights, "form_grey.weight"))
        before.append(helper.make_node("Conv", [current, "form_grey.weight"], ["form_grey"]))
        current = "form_grey"
    if layout == "NHWC":
        before.append(helper.make_node("Transpose", [current], ["form_channels_last"], perm=[0, 2, 3, 1]))
        current = "form_channels_last"
    nodes = [*before, *graph.node, helper.make_node("Flatten", [result], [LOGITS], axis=1)]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    _rename(graph, {source: current})
    graph.input.extend([helper.make_tensor_value_info(IMAGES, onnx.TensorProto.FLOAT, [batch, 3, side, side])])
    graph.output.extend([helper.make_tensor_value_info(LOGITS, onnx.TensorProto.FLOAT, None)])
    graph.ClearField("quantization_annotation")
    _drop_flatten(graph)
    _resolve_padding(made, side)
    _flatten(made)
    made.ir_version = max(min(made.ir_version, 10), helper.find_min_ir_version_for(made.opset_import))
    del made.metadata_props[:]
    return without_notes(made)


def _enlarging(graph: onnx.GraphProto, source: str, size: int) -> list[onnx.NodeProto]:
    """Nodes that bring images to that size. Its numbers, and no factor: that would be rounded, and each runtime's otherwise."""
    for name, values in (("form_place", [0]), ("form_target", [3, size, size])):
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return [
        helper.make_node("Shape", [source], ["form_given"]),
        helper.make_node("Gather", ["form_given", "form_place"], ["form_count"]),
        helper.make_node("Concat", ["form_count", "form_target"], ["form_wanted"], axis=0),
        helper.make_node(
            "Resize",
            [source, "", "", "form_wanted"],
            ["form_enlarged"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
    ]


def _free_names(graph: onnx.GraphProto) -> None:
    """Gives tensors of the file other names than those that are given here: it may have been brought to this form before."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {item.name for item in (*graph.initializer, *graph.input, *graph.output)}
    names = {}
    for name in sorted(taken):
        if name in (IMAGES, LOGITS) or name.startswith(PREFIX):
            names[name] = f"file_{name}"
            while names[name] in taken:
                names[name] = f"file_{names[name]}"
    _rename(graph, names)


def _split_group_norms(model: onnx.ModelProto) -> None:
    """GroupNormalization as the older exporters write it: ONNX infers no sizes behind that operator, and without them nothing is
    run. core.networks.convert makes one layer of it again."""
    graph = model.graph
    by_group = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")) < 21
    nodes = []
    for number, node in enumerate(graph.node):
        if node.op_type != "GroupNormalization":
            nodes.append(node)
            continue
        at = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        groups, (source, scale, bias) = at["num_groups"], node.input
        name = f"{PREFIX}norm{number}_"
        arrays = {
            "groups": np.array([0, groups, -1], np.int64),
            "wide": np.array([-1, 1, 1], np.int64),
            "ones": np.ones(groups, np.float32),
            "zeros": np.zeros(groups, np.float32),
        }
        graph.initializer.extend(numpy_helper.from_array(value, name + key) for key, value in arrays.items())
        plain = (scale, bias) if by_group else (name + "ones", name + "zeros")
        result = node.output[0] if by_group else name + "normed"
        nodes += [
            helper.make_node("Shape", [source], [name + "sizes"]),
            helper.make_node("Reshape", [source, name + "groups"], [name + "grouped"]),
            helper.make_node(
                "InstanceNormalization", [name + "grouped", *plain], [name + "each"], epsilon=at.get("epsilon", 1e-5)
            ),
            helper.make_node("Reshape", [name + "each", name + "sizes"], [result]),
        ]
        if not by_group:
            nodes += [
                helper.make_node("Reshape", [scale, name + "wide"], [name + "scale"]),
                helper.make_node("Mul", [result, name + "scale"], [name + "scaled"]),
                helper.make_node("Reshape", [bias, name + "wide"], [name + "bias"]),
                helper.make_node("Add", [name + "scaled", name + "bias"], [node.output[0]]),
            ]
    del graph.node[:]
    graph.node.extend(nodes)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        for part in (node.input, node.output):
            for place, name in enumerate(part):
                part[place] = names.get(name, name)
    for item in (*graph.initializer, *graph.input, *graph.output):
        item.name = names.get(item.name, item.name)


def _drop_flatten(graph: onnx.GraphProto) -> None:
    """Without the last flattening, where what it flattens is made by a layer that gives (N, classes) anyway."""
    if len(graph.node) < 2:
        return
    maker, last = graph.node[-2:]
    if maker.op_type in ("Gemm", "Flatten") and list(maker.output) == list(last.input):
        maker.output[0] = LOGITS
        graph.node.remove(last)


def _flatten(model: onnx.ModelProto) -> None:
    """Reshapes to one row for each image as what they are: as such they go on with fewer channels too."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    sized.graph.input[0].type.tensor_type.shape.dim[0].dim_value = BATCHES[0]
    found = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    shapes = {item.name: shape_of(item) for item in (*found.value_info, *found.input, *found.output)}
    for node in model.graph.node:
        before, after = (shapes.get(name, []) for name in (node.input[0] if node.input else "", node.output[0]))
        if node.op_type == "Reshape" and len(before) >= 2 == len(after) and before[0] == after[0] == BATCHES[0]:
            node.CopyFrom(helper.make_node("Flatten", [node.input[0]], [node.output[0]], axis=1))
    drop_unused(model.graph)


def _resolve_padding(model: onnx.ModelProto, side: int) -> None:
    """`SAME_UPPER` and `SAME_LOWER` as the numbers that they stand for: for that the sizes must be known."""
    nodes = [
        (node, attribute)
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "auto_pad" and attribute.s.startswith(b"SAME")
    ]
    if not nodes:
        return
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    sized.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    found = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    shapes = {item.name: shape_of(item) for item in (*found.value_info, *found.input)}
    weights = {item.name: list(item.dims) for item in model.graph.initializer}
    for node, attribute in nodes:
        at = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        kernel = at.get("kernel_shape") or weights.get(node.input[1] if len(node.input) > 1 else "", [])[2:]
        sizes = shapes.get(node.input[0], [])[2:]
        if node.op_type not in ("Conv", "MaxPool", "AveragePool") or len(sizes) != len(kernel) or not sizes:
            continue
        near, far = [], []
        strides, dilations = at.get("strides", [1] * len(kernel)), at.get("dilations", [1] * len(kernel))
        for length, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
            total = max((-(-int(length) // stride) - 1) * stride + (width - 1) * dilation + 1 - int(length), 0)
            small, large = total // 2, total - total // 2
            upper = attribute.s == b"SAME_UPPER"
            near.append(small if upper else large)
            far.append(large if upper else small)
        kept = [item for item in node.attribute if item.name not in ("auto_pad", "pads")]
        kept.append(helper.make_attribute("pads", [*near, *far]))
        del node.attribute[:]
        node.attribute.extend(kept)


def _compare(made: onnx.ModelProto, wanted: np.ndarray, inputs: np.ndarray, layout: str, *, softmax: bool) -> float:
    """Largest difference between logits of the file in the lab's form, on images as large as the network takes them, and those
    of the file as it came. inputs: as that takes them."""
    images = inputs.transpose(0, 3, 1, 2) if layout == "NHWC" else inputs
    network = OnnxNetwork(made.SerializeToString())
    found = network.logits(np.ascontiguousarray(np.broadcast_to(images, (len(images), 3, *images.shape[2:]))))
    if softmax:
        found = np.exp(found - found.max(1, keepdims=True))
        found /= found.sum(1, keepdims=True)
    largest, same = difference(found, wanted)
    if not same:
        raise LabError(
            f"The network brought to the lab's form gives other answers (by {largest:.1g}): export it with a newer opset."
        )
    return largest
