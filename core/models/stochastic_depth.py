"""Stochastic depth: whole residual branches left out in training. Without torchvision, whose import takes seconds."""

from __future__ import annotations

from torch import Tensor, nn


class StochasticDepth(nn.modules.dropout._DropoutNd):
    """Drops a residual branch of each image with probability p and divides the others by 1 - p; in eval mode, nothing.

    (N, ...) to the same shape. Source: arXiv:1603.09382; scaled in training instead of in eval, as dropout is.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - self.p)  # (N, 1, ...)
        return x * kept / (1 - self.p)


def branch(p: float, number: int, branches: int) -> nn.Module:
    """What ends residual branch `number`, from 1, of `branches`: survival falls linearly with depth, to 1 - p at the last."""
    return StochasticDepth(p * number / branches) if p else nn.Identity()
