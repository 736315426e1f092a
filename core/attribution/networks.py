"""What a network is made of, as far as attribution methods must know it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

from core.checkpoints.store import RUNTIME_ONLY
from core.common.errors import LabError

if TYPE_CHECKING:
    from torch import nn

    from core.checkpoints.store import Card

LINEAR = (
    "Conv2d",
    "Linear",
    "BatchNorm2d",
    "AvgPool2d",
    "AdaptiveAvgPool2d",
    "ZeroPad2d",
    "Upsample",
    "Blur",
    "Subsample",
)
PASSES_THROUGH = ("Flatten", "Identity", "Dropout", "Dropout2d", "StochasticDepth")
"""Layers that, when nothing is trained, hand on what they get."""
STRAIGHT = {*LINEAR, *PASSES_THROUGH}
_ACTIVATIONS = """ReLU ReLU6 GELU SiLU ELU CELU SELU LeakyReLU PReLU Sigmoid LogSigmoid Tanh Softplus Softsign Softmax LogSoftmax
Hardswish Hardsigmoid Hardtanh Mish"""
ACTIVATIONS = frozenset(_ACTIVATIONS.split())
PRODUCTS = {"Mul", "Div", "MatMul", "Gemm", "Einsum", "Conv", "MaxPool"}
"""Operators outside of layers that are no activation, though not linear."""
LINEAR_OPERATIONS = {"add", "iadd", "cat", "mean", "permute", "transpose", "chunk", "adaptive_avg_pool2d", "avg_pool2d"}
HARMLESS_OPERATIONS = {"flatten", "getattr", "size", "view", "reshape", "contiguous"}


def float_twin_note(card: Card, what: str = "answer and map") -> str:
    """Which network answers here for a checkpoint that runs in ONNX Runtime, in a sentence; empty for any other. what: is
    computed with it."""
    if not card.onnx_file or card.model == RUNTIME_ONLY:
        return ""
    if not card.in_int8:
        return f"{card.title[:100]} runs in ONNX Runtime: its {what} use the same network converted to PyTorch."
    return f"{card.title[:100]} runs in 8 bits, without gradients: its {what} use the same weights in float32."


def leaves(model: nn.Module) -> list[nn.Module]:
    """The layers themselves, without what only holds others."""
    return [module for module in model.modules() if not list(module.children())]


def kinds(layers: Iterable[nn.Module]) -> str:
    """`GELU, SiLU`; empty for none."""
    return ", ".join(dict.fromkeys(type(layer).__name__ for layer in layers))


def needs_relu(model: nn.Module, title: str) -> str | None:
    """Why a method that changes what a ReLU hands back cannot explain this network; None where it can."""
    found = leaves(model)
    others = kinds(leaf for leaf in found if type(leaf).__name__ in ACTIVATIONS - {"ReLU"})
    others = others or ", ".join(sorted({*getattr(model, "unseen", ())} - PRODUCTS))
    if others:
        return f"{title} is defined for ReLU, and this network has {others}: there it would be another method under its name."
    if not any(type(leaf).__name__ == "ReLU" for leaf in found):
        return f"{title} is defined for ReLU, and this network has none."
    return None


def reused_layers(model: nn.Module) -> str:
    """Kinds of layers that a network of torchvision calls more than once in a pass; all others here call each once."""
    import torch

    side = getattr(model, "side", 0)
    if not side:
        return ""
    calls: dict[nn.Module, int] = {}
    copied = copy.deepcopy(model).to("meta").eval()
    for leaf in leaves(copied):
        leaf.register_forward_hook(lambda module, inputs, output: calls.update({module: calls.get(module, 0) + 1}))
    with torch.no_grad():
        copied(torch.empty(1, 3, side, side, device="meta"))
    return kinds(module for module, number in calls.items() if number > 1)


def unseen_nonlinearities(model: nn.Module) -> str:
    """What a network from elsewhere computes outside of layers that is not linear; the lab's own compute nothing so."""
    listed: tuple[str, ...] | None = getattr(model, "unseen", None)
    if listed is not None:
        return ", ".join(listed)
    found = unseen_operations(model) if hasattr(model, "side") else ""
    return ", ".join(name for name in found.split(", ") if name and name not in LINEAR_OPERATIONS)


def needs_single_calls(model: nn.Module, title: str) -> str | None:
    """Why a method that keeps what each layer saw cannot explain this network."""
    if getattr(model, "one_by_one", False):
        return f"{title} follows several images at once, and this network answers them one by one."
    reused = reused_layers(model)
    return f"{title} follows each layer once, and this network calls a {reused} several times." if reused else None


def needs_known_nonlinearities(model: nn.Module, title: str) -> str | None:
    """Why DeepLift cannot explain this network: it would take what it does not know for a straight line."""
    if refusal := needs_single_calls(model, title):
        return refusal
    if unseen := unseen_nonlinearities(model):
        return f"{title} has no rule for {unseen} outside of layers and would take it for a straight line, unseen."
    from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

    strange = kinds(
        leaf for leaf in leaves(model) if type(leaf).__name__ not in STRAIGHT and type(leaf) not in SUPPORTED_NON_LINEAR
    )
    if strange:
        return f"{title} has no rule for {strange} and would take it for a straight line, unseen."
    return None


def unseen_operations(model: nn.Module) -> str:
    """What a network computes outside of layers, such as `add`: no method that works layer by layer sees it."""
    from torch.fx import Graph, Proxy
    from torch.fx.proxy import GraphAppendingTracer
    from torch.nn import Identity

    # Not torch.fx.Tracer: while it works, it replaces what every network of the process does when it is called, also
    # in other threads. In this copy, which shares the weights, layers hand on what they get; the rest is recorded.
    model = copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if name and not list(module.children()):
            model.set_submodule(name, Identity())
    graph = Graph()
    try:
        model(Proxy(graph.placeholder("inputs"), GraphAppendingTracer(graph)))
    except Exception:  # whatever the network does that cannot be followed
        return "which could not be listed"
    names = [
        getattr(node.target, "__name__", str(node.target))
        for node in graph.nodes
        if node.op in ("call_function", "call_method")
    ]
    return ", ".join(dict.fromkeys(name for name in names if name not in HARMLESS_OPERATIONS))


def convolutions(model: nn.Module) -> list[str]:
    """Names of the convolutions, in the order of the network's definition."""
    from torch import nn

    return [
        name for name, module in model.named_modules() if isinstance(module, nn.Conv2d) and "downsample" not in name
    ]


def feature_map(model: nn.Module, layer: str = "") -> nn.Module:
    """The convolution of that name; empty: the last one. Raises LabError where there is none."""
    names = convolutions(model)
    if not names or (layer and layer not in names):
        raise LabError(
            f"There is no convolution {layer[:60]!r} in this network: choose one of {', '.join(names) or 'none'}."
        )
    return model.get_submodule(layer or names[-1])
