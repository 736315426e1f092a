"""ONNX files as people bring them, and some that nobody should."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

FLOAT = onnx.TensorProto.FLOAT


class Small(nn.Module):
    """A convolution, a norm, a residual sum, two poolings and a head."""

    def __init__(self, channels: int = 3, classes: int = 10, *, softmax: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Hardswish())
        self.head = nn.Linear(8, classes)
        self.softmax = nn.Softmax(1) if softmax else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.body(x)
        return self.softmax(self.head(x.mean((2, 3)).reshape(x.shape[0], 8)))


class Attends(nn.Module):
    """A vision Transformer with a class token, which exporters write with shapes that are computed."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 17, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.block(x)[:, 0])


class ChannelsLast(nn.Module):
    """As TensorFlow has its images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.permute(0, 3, 1, 2))


def export(model: nn.Module, shape: Sequence[int], *, free: Sequence[int] = (0,), opset: int = 17) -> bytes:
    """By PyTorch's older exporter, which takes a tenth of the time. free: axes of the input."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features) + 0.5
    buffer = io.BytesIO()
    axes = {"x": {axis: f"d{axis}" for axis in free}} if free else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (torch.zeros(*shape),),
            buffer,
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=axes,
        )
    return buffer.getvalue()


def graph(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray] | None = None,
    *,
    inputs: Sequence[tuple[str, Any]] = (("x", ["N", 3, 8, 8]),),
    outputs: Sequence[tuple[str, Any]] = (("y", ["N", 4]),),
    opset: int = 17,
    domains: Sequence[str] = (),
) -> bytes:
    """A file of these nodes."""
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


HEAD = (
    helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
    helper.make_node("Flatten", ["pooled"], ["flat"]),
    helper.make_node("Gemm", ["flat", "w"], ["y"]),
)
WEIGHTS = {"w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}
"""Four classes of the mean colour."""


def bomb(numbers: int) -> bytes:
    """A small file that asks for so many zeros, and adds their mean to each logit."""
    return graph(
        [
            helper.make_node("ConstantOfShape", ["many"], ["zeros"]),
            helper.make_node("ReduceMean", ["zeros"], ["nothing"], keepdims=0),
            *HEAD[:2],
            helper.make_node("Gemm", ["flat", "w"], ["before"]),
            helper.make_node("Add", ["before", "nothing"], ["y"]),
        ],
        WEIGHTS | {"many": np.array([numbers], np.int64)},
    )


def wide(numbers: int) -> bytes:
    """A small file that spreads each image over so many numbers."""
    return graph(
        [
            helper.make_node("Expand", ["x", "many"], ["spread"]),
            helper.make_node("ReduceMean", ["spread"], ["back"], axes=[2, 3], keepdims=1),
            helper.make_node("Flatten", ["back"], ["flat"]),
            HEAD[2],
        ],
        WEIGHTS | {"many": np.array([1, 1, numbers // 8, 8], np.int64)},
        inputs=(("x", ["N", 3, 1, 8]),),
    )


def loop() -> bytes:
    """10^9 rounds."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["going"]),
            helper.make_node("Add", ["value", "value"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, None),
        ],
    )
    return graph(
        [
            *HEAD[:2],
            helper.make_node("Gemm", ["flat", "w"], ["z"]),
            helper.make_node("Loop", ["rounds", "", "z"], ["y"], body=body),
        ],
        WEIGHTS | {"rounds": np.array(10**9, np.int64)},
    )


UNKNOWN_TO_TORCH = (
    helper.make_node("ConvTranspose", ["x", "k"], ["wide"]),
    helper.make_node("GlobalAveragePool", ["wide"], ["pooled"]),
    helper.make_node("Flatten", ["pooled"], ["flat"]),
    helper.make_node("Gemm", ["flat", "w"], ["y"]),
)


def answers_only(classes: int = 3, side: int = 32) -> bytes:
    """A network with an operator that is not converted."""
    draw = np.random.default_rng(0)
    weights = {"k": draw.standard_normal((3, 6, 3, 3)), "w": draw.standard_normal((6, classes))}
    return graph(
        UNKNOWN_TO_TORCH,
        {name: value.astype(np.float32) for name, value in weights.items()},
        inputs=(("x", ["N", 3, side, side]),),
        outputs=(("y", ["N", classes]),),
    )
