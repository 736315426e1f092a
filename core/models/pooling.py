"""What may stand in for a max pooling, or a convolution with a stride: outputs of the same size."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.common.errors import LabError

Pooling = Literal["average", "stride", "blur"]
POOLINGS = get_args(Pooling)


class Subsample(nn.Module):
    """Every `stride`-th value alone, the first of each window without its padding. (N, C, H, W) to (N, C, H', W')."""

    def __init__(self, size: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        height, width = (side + 2 * self.padding - self.kernel_size + 1 for side in x.shape[-2:])
        return x[..., : height : self.stride, : width : self.stride]


class Blur(nn.Module):
    """Each channel blurred with [1, 2, 1]⊗[1, 2, 1] / 16, every `stride`-th value kept; edges are mirrored.

    Source: Zhang, Making Convolutional Networks Shift-Invariant Again, arXiv:1904.11486, filter Tri-3.
    """

    kernel_size = 3

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride, self.padding = stride, 1

    def forward(self, x: Tensor) -> Tensor:
        taps = torch.tensor([0.25, 0.5, 0.25], device=x.device, dtype=x.dtype)
        channels = x.shape[1]
        kernel = torch.outer(taps, taps).expand(channels, 1, 3, 3)
        mode = "reflect" if min(x.shape[-2:]) > 1 else "replicate"
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), kernel, stride=self.stride, groups=channels)


def replaceable(pool: nn.MaxPool2d) -> tuple[int, int, int] | None:
    """Size, stride and padding of square windows without dilation, with a padding below half of them; None for others."""
    size, stride, padding = pool.kernel_size, pool.stride, pool.padding
    if not (isinstance(size, int) and isinstance(stride, int) and isinstance(padding, int)):
        return None
    return None if 2 * padding >= size or pool.dilation != 1 or pool.ceil_mode else (size, stride, padding)


def replace_pooling(pool: nn.MaxPool2d, kind: str) -> nn.Module:
    """The layer that takes its place. kind: one of POOLINGS; `blur` takes the maximum at every pixel, then blurs and strides.

    Padding counts for nothing in an average. Raises LabError for an unknown kind, and a pooling that is not `replaceable`.
    """
    if kind not in POOLINGS:
        raise LabError(f"There is no pooling {kind[:40]!r}: choose one of {', '.join(POOLINGS)}.")
    window = replaceable(pool)
    if window is None:
        raise LabError("This max pooling has dilation or wide padding, or is not square: it cannot be replaced.")
    size, stride, padding = window
    if kind == "average":
        return nn.AvgPool2d(size, stride, padding, count_include_pad=False)
    if kind == "stride":
        return Subsample(size, stride, padding)
    return nn.Sequential(nn.MaxPool2d(size, 1, padding), Blur(stride))


def blur_stride(convolution: nn.Conv2d) -> nn.Module:
    """The convolution at every pixel, then a blur with its stride. It takes over the weights, and steps by 1 from now on.

    Zhang blurs after the ReLU; here nothing but the stride changes, so that any network will do. Raises LabError for strides
    that differ.
    """
    stride = int(convolution.stride[0])
    if convolution.stride != (stride, stride):
        raise LabError("This convolution has two strides: it cannot be replaced.")
    convolution.stride = (1, 1)
    return nn.Sequential(convolution, Blur(stride))


def pooling_of(module: nn.Module) -> str:
    """The kind that took the place of a max pooling; empty for any other layer."""
    if isinstance(module, nn.AvgPool2d):
        return "average"
    if isinstance(module, Subsample):
        return "stride"
    return "blur" if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], Blur) else ""
