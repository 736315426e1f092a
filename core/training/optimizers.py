"""Optimizers, learning-rate schedules and weight averages, chosen by a TrainConfig."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from core.models import MODELS, head_name
from core.training.config import TrainConfig


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised, for convolution filters; each filter bank keeps a fixed norm.

    Filters of one shape are handled in one batch, which keeps the number of kernels small.
    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.6) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault((len(parameter), parameter[0].numel()), []).append(parameter)
            for shape, parameters in shapes.items():
                grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
                for parameter in parameters:
                    if not self.state[parameter]:
                        self.state[parameter]["momentum"] = torch.zeros_like(parameter)
                buffers = [self.state[parameter]["momentum"] for parameter in parameters]
                torch._foreach_mul_(buffers, group["momentum"])
                torch._foreach_add_(buffers, grads)
                nesterov = torch._foreach_add(grads, buffers, alpha=group["momentum"])
                stacked = torch.stack([item.reshape(shape) for item in nesterov])
                updates = orthogonalise(stacked)
                norms = torch._foreach_norm(parameters)
                torch._foreach_mul_(parameters, [shape[0] ** 0.5 / norm for norm in norms])
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.add_(update.view(parameter.shape), alpha=-group["lr"])


def orthogonalise(matrices: Tensor, steps: int = 3) -> Tensor:
    """Push the singular values of each matrix towards 1. matrices: (B, R, C); returns the same shape.

    A quintic Newton-Schulz iteration with the published coefficients, which trade exactness (values end between about
    0.5 and 1.5) for speed. bfloat16 on a GPU, float32 elsewhere. Source: as for Muon.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x.bfloat16() if x.is_cuda else x.float()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # (B, R, R)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x if wide else x.mT).to(matrices.dtype)


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """One optimizer, or two for `muon`. Each group remembers its peak rate as `peak_lr`."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    filters = {name: parameter for name, parameter in trained.items() if parameter.ndim == 4}
    vectors = {name: parameter for name, parameter in trained.items() if parameter.ndim == 1}
    matrices = {name: parameter for name, parameter in trained.items() if name not in filters | vectors}
    muon, adaptive = config.optimizer == "muon", config.optimizer in ("adam", "adamw")
    bias_lr = config.lr if adaptive else config.bias_lr or config.lr
    head_lr = config.head_lr or config.lr if muon else config.lr
    fused = next(iter(trained.values())).device.type in ("cuda", "cpu")
    optimizers: list[torch.optim.Optimizer] = []
    if adaptive:
        kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
        groups = _at_rates(filters | matrices, config.lr, model, config)
        groups += [group | {"weight_decay": 0.0} for group in _at_rates(vectors, bias_lr, model, config)]
        betas = (config.momentum, 0.999)
        optimizers.append(kind(groups, lr=config.lr, betas=betas, weight_decay=config.weight_decay, fused=fused))
    else:
        groups = []
        for parameters, lr in ((vectors, bias_lr), (matrices, head_lr), ({} if muon else filters, config.lr)):
            for group in _at_rates(parameters, lr, model, config):
                # Muon's partner decays by lr/peak x weight_decay a step, independent of the size of each rate.
                decay = config.weight_decay / group["lr"] if muon else config.weight_decay
                groups.append(group | {"weight_decay": decay})
        momentum = 0.85 if muon else config.momentum
        if groups:
            sgd = torch.optim.SGD(groups, lr=config.lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
            optimizers.append(sgd)
        if muon and filters:
            groups = _at_rates(filters, config.lr, model, config)
            optimizers.append(Muon(groups, lr=config.lr, momentum=config.momentum))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def _at_rates(
    parameters: dict[str, nn.Parameter], lr: float, model: nn.Module, config: TrainConfig
) -> list[dict[str, Any]]:
    """Groups without an empty one: a single one at this rate, or where training goes on from a checkpoint, the body at its share
    of it and the head."""
    rates = dict.fromkeys(parameters, lr)
    if config.init_from and MODELS[config.model].data == "images":
        head = f"{head_name(model)}."
        rates = {name: lr if name.startswith(head) else lr * config.body_lr_factor for name in parameters}
    return [
        {"params": [parameters[name] for name in parameters if rates[name] == rate], "lr": rate}
        for rate in dict.fromkeys(rates.values())
    ]


def l1_norm(model: nn.Module) -> Tensor:
    """Sum of |w| over the trained weights of matrices and filters, biases and norms left out. Scalar."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim >= 2]
    return torch.stack([weight.abs().sum() for weight in weights]).sum()


def lr_factor(config: TrainConfig, step: int, total_steps: int) -> float:
    """Share of the peak learning rate to use for the step that follows `step` finished ones, 0..1."""
    warm = config.warmup * total_steps
    if step < warm:
        return (step + 1) / (math.floor(warm) + 1)
    if config.schedule == "constant":
        return 1.0
    done = (step - warm) / max(1.0, total_steps - warm)
    return 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1.0 - done


class Average:
    """Exponential moving average of the weights, in a separate model. Batch-norm statistics are averaged with them."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.config = config
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.slow, self.fast = (
            [tensor for tensor in (*each.parameters(), *each.buffers()) if tensor.is_floating_point()]
            for each in (self.model, model)
        )
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        # The usual warm-up of an average: early on it follows quickly, or it would remember the random start.
        decay = min(self.config.average_decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.slow, self.fast, 1 - decay)
