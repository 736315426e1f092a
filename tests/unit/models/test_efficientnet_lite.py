"""EfficientNet-Lite0 against a plain functional version of the paper's table, with TensorFlow's padding written out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.models import build_model, head_name, images_at_once

KERNELS = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
WIDTHS = [32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320]
"""What goes into each block, and what comes out of the last."""


def same_padding(x: Tensor, kernel: int, stride: int) -> Tensor:
    total = max((math.ceil(x.shape[-1] / stride) - 1) * stride + kernel - x.shape[-1], 0)
    return F.pad(x, (total // 2, total - total // 2) * 2)


def plain(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits (N, classes) of the state dict for images (N, 3, H, W)."""

    def layer(name: str, x: Tensor, kernel: int = 1, stride: int = 1, groups: int = 1) -> Tensor:
        x = F.conv2d(same_padding(x, kernel, stride), state[f"{name}.conv.weight"], stride=stride, groups=groups)
        mean, var, weight, bias = (
            state[f"{name}.norm.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    x = layer("stem", x, 3, 2).clamp(0, 6)
    for index, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True)):
        name, y = f"blocks.{index}", x
        if index > 0:
            y = layer(f"{name}.expand", y).clamp(0, 6)
        y = layer(f"{name}.depthwise", y, kernel, stride, groups=y.shape[1]).clamp(0, 6)
        y = layer(f"{name}.project", y)
        x = x + y if stride == 1 and WIDTHS[index] == WIDTHS[index + 1] else y
    x = layer("last", x).clamp(0, 6).mean((2, 3))
    return x @ state["head.weight"].T + state["head.bias"]


def random_statistics(model: torch.nn.Module) -> torch.nn.Module:
    """Norms that do something, as those of a trained network."""
    random = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.05, 0.2),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.2, 0.5),
            ):
                assert tensor is not None
                tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=random))
    return model.eval()


@pytest.mark.parametrize("side", [64, 96, 75])
@torch.no_grad()
def test_logits_are_those_of_the_plain_version(side: int) -> None:
    torch.manual_seed(0)
    model = random_statistics(build_model("efficientnet_lite0", {"image_size": side}))
    images = torch.randn(2, 3, side, side)
    expected = plain(model.state_dict(), images)
    assert expected.std() > 1e-3
    assert torch.allclose(model(images), expected, atol=1e-4 * float(expected.abs().max()))


@torch.no_grad()
def test_small_images_are_enlarged_within_the_network() -> None:
    torch.manual_seed(0)
    enlarging = random_statistics(build_model("efficientnet_lite0", {"image_size": 32, "upscale_to": 64}))
    large = build_model("efficientnet_lite0", {"image_size": 64, "upscale_to": 48}).eval()
    large.load_state_dict(enlarging.state_dict())
    images = torch.randn(2, 3, 32, 32)
    resized = F.interpolate(images, (64, 64), mode="bilinear")
    assert torch.allclose(enlarging(images), large(resized), atol=1e-5)


def test_the_size_is_the_published_one() -> None:
    model = build_model("efficientnet_lite0", {"classes": 1000})
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_652_008
    assert head_name(model) == "head"


@pytest.mark.parametrize(("device", "small", "large"), [("cpu", 250, 32), ("cuda:0", 2000, 128)])
def test_fewer_images_go_together_through_a_network_that_sees_them_large(device: str, small: int, large: int) -> None:
    assert images_at_once({"image_size": 32}, 250, device) == small
    assert images_at_once({"image_size": 32, "upscale_to": 224}, 250, device) == large
