"""Networks that methods which hook layers (DeepLift among them) get right answers from."""

from __future__ import annotations

from torch import Tensor, nn

HOOKED = (nn.ReLU, nn.ReLU6, nn.MaxPool2d)
"""Layers whose gradient such methods replace."""


def make_hook_safe(model: nn.Module) -> nn.Module:
    """The network, in whose ReLU and max-pooling layers a copy of the input is taken where its gradient is wanted.

    Where one such layer's output is the very tensor that the next one takes, the hooks that Captum 0.9 puts on both meet on
    it, and one reads a gradient before the other has replaced it (captum issue 1104): DeepLift's values then miss their sum
    by some percent. Training and plain inference copy nothing.
    """
    for module in model.modules():
        if isinstance(module, HOOKED):
            module.register_forward_pre_hook(_copy)
    return model


def _copy(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor | None:
    return inputs[0].clone() if inputs[0].requires_grad and not module.training else None
