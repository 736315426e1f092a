"""What a network is made of, as far as attribution methods must know it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

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
ACTIVATIONS = {"ReLU", "ReLU6", "GELU", "SiLU", "ELU", "LeakyReLU", "Sigmoid", "Tanh", "Softplus", "Softmax"}
HARMLESS_OPERATIONS = {"flatten", "getattr", "size", "view", "reshape", "contiguous"}


def float_twin_note(card: Card, what: str = "answer and map") -> str:
    """Which network answers here for an int8 checkpoint, in a sentence; empty for any other. what: is computed with it."""
    if not card.onnx_file:
        return ""
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
    if others:
        return f"{title} is defined for ReLU, and this network has {others}: there it would be another method under its name."
    if not any(type(leaf).__name__ == "ReLU" for leaf in found):
        return f"{title} is defined for ReLU, and this network has none."
    return None


def needs_known_nonlinearities(model: nn.Module, title: str) -> str | None:
    """Why DeepLift cannot explain this network: it would take what it does not know for a straight line."""
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
