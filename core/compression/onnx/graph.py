"""Networks for images and the GPT as ONNX graphs, by PyTorch's exporter (`torch.onnx.export(dynamo=True)`).

Recurrent networks are built in core.compression.onnx.recurrent: the exporter fixes their length.
"""

from __future__ import annotations

import warnings

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from core.common.errors import LabError
from core.compression.onnx.folding import EXPORTING
from core.inference.onnx_network import OPERATORS, OPSET
from core.models import clone_model
from core.models.char_gpt import CharGPT

EXPORTERS_LEAST = 18
IMAGES, TOKENS, LOGITS = "images", "tokens", "logits"


class _Logits(nn.Module):
    """A language model without its state."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens)[0]
        return logits


def image_graph(model: nn.Module, side: int, opset: int = OPSET) -> onnx.ModelProto:
    """`images` (N, 3, side, side) float32 to `logits` (N, classes), N free. Raises LabError."""
    graph = _export(model, torch.zeros(2, 3, side, side), IMAGES, {0: torch.export.Dim("N")}, opset)
    _move_relu_before_pooling(graph)
    return graph


def gpt_graph(model: CharGPT, opset: int = OPSET) -> onnx.ModelProto:
    """`tokens` (B, T) int64, T up to the context, to `logits` (B, T, vocabulary). Raises LabError."""
    length = torch.export.Dim("T", max=model.config.context)
    example = torch.zeros(2, 2, dtype=torch.int64)
    return _export(_Logits(model), example, TOKENS, {0: torch.export.Dim("B"), 1: length}, opset)


def _export(model: nn.Module, example: Tensor, name: str, free: dict[int, object], opset: int) -> onnx.ModelProto:
    """free: dimension of the input -> its symbol. Raises LabError for a network that cannot be followed, or that uses
    operators which `check_onnx` would refuse."""
    model = clone_model(model).cpu().float()
    try:
        with EXPORTING, warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=max(opset, EXPORTERS_LEAST),
                input_names=[name],
                output_names=[LOGITS],
                dynamic_shapes=(free,),
                external_data=False,
            )
    except Exception as error:  # the exporter has an exception class for each of its stages
        raise LabError(
            f"PyTorch's exporter failed ({type(error).__name__}): only networks made of layers of the lab can be exported."
        ) from error
    assert program is not None
    graph: onnx.ModelProto = program.model_proto
    if opset < EXPORTERS_LEAST:
        _to_opset_17(graph)
    graph.ir_version = ir_version(opset)
    unknown = sorted({node.op_type for node in graph.graph.node} - OPERATORS[name])
    if unknown:
        raise LabError(f"The network uses {unknown[0]}, for which there is no ONNX export here.")
    return without_notes(graph)


def ir_version(opset: int) -> int:
    """The file format that came with the opset: what writes a newer one locks older runtimes out."""
    return int(onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]))


def _to_opset_17(model: onnx.ModelProto) -> None:
    """From opset 18, in place: what means the same there under another form. Source: https://onnx.ai/onnx/operators/

    The axes of a mean become an attribute; splits and enlargements lose attributes that hold what opset 17 does anyway.
    """
    weights = {weight.name: weight for weight in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "ReduceMean" and len(node.input) > 1:
            axes = numpy_helper.to_array(weights[node.input[1]]).tolist()
            del node.input[1:]
            node.attribute.append(onnx.helper.make_attribute("axes", axes))
        usual = {"Split": ("num_outputs",), "Resize": ("antialias", "keep_aspect_ratio_policy")}.get(node.op_type, ())
        kept = [item for item in node.attribute if item.name not in usual and item.name != "noop_with_empty_axes"]
        if any(item.name == "antialias" and item.i for item in node.attribute):
            raise LabError("The network resizes in a way that opset 17 does not know: choose opset 18 or more.")
        del node.attribute[:]
        node.attribute.extend(kept)
        while node.input and not node.input[-1]:
            del node.input[-1]
    model.opset_import[0].version = 17


def without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in place, without what tools write beside the network: folders of this machine are among it."""
    for item in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.initializer,
        *model.graph.input,
        *model.graph.output,
    ):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    model.graph.ClearField("value_info")
    used = {node.domain for node in model.graph.node}
    kept = [item for item in model.opset_import if item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _move_relu_before_pooling(model: onnx.ModelProto) -> None:
    """ReLU before max pooling instead of after it, which gives the same: a runtime does it within the convolution."""
    nodes = model.graph.node
    pools = {node.output[0]: node for node in nodes if node.op_type == "MaxPool"}
    inputs = [name for node in nodes for name in node.input]
    for relu in nodes:
        pool = pools.get(relu.input[0]) if relu.op_type == "Relu" else None
        if pool is not None and inputs.count(pool.output[0]) == 1:
            attributes = list(pool.attribute)
            pool.op_type, relu.op_type = relu.op_type, pool.op_type
            del pool.attribute[:]
            relu.attribute.extend(attributes)
