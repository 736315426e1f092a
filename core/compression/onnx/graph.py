"""Networks for images and the GPT as ONNX graphs, by PyTorch's exporter (`torch.onnx.export(dynamo=True)`).

Recurrent networks are built in core.compression.onnx.recurrent: the exporter fixes their length.
"""

from __future__ import annotations

import warnings

import onnx
import torch
from torch import Tensor, nn

from core.common.errors import LabError
from core.compression.onnx.folding import EXPORTING
from core.inference.onnx_network import OPERATORS
from core.models import clone_model
from core.models.char_gpt import CharGPT

OPSET = 20
"""The first with Gelu; ONNX Runtime has it since 1.17."""
IR_VERSION = 9
"""The file format that came with the opset: what writes a newer one locks older runtimes out."""
IMAGES, TOKENS, LOGITS = "images", "tokens", "logits"


class _Logits(nn.Module):
    """A language model without its state."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens)[0]
        return logits


def image_graph(model: nn.Module, side: int) -> onnx.ModelProto:
    """`images` (N, 3, side, side) float32 to `logits` (N, classes), N free. Raises LabError."""
    graph = _export(model, torch.zeros(2, 3, side, side), IMAGES, {0: torch.export.Dim("N")})
    _move_relu_before_pooling(graph)
    return graph


def gpt_graph(model: CharGPT) -> onnx.ModelProto:
    """`tokens` (B, T) int64, T up to the context, to `logits` (B, T, vocabulary). Raises LabError."""
    length = torch.export.Dim("T", max=model.config.context)
    example = torch.zeros(2, 2, dtype=torch.int64)
    return _export(_Logits(model), example, TOKENS, {0: torch.export.Dim("B"), 1: length})


def _export(model: nn.Module, example: Tensor, name: str, free: dict[int, object]) -> onnx.ModelProto:
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
                opset_version=OPSET,
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
    graph.ir_version = IR_VERSION
    unknown = sorted({node.op_type for node in graph.graph.node} - OPERATORS[name])
    if unknown:
        raise LabError(f"The network uses {unknown[0]}, for which there is no ONNX export here.")
    return without_notes(graph)


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
