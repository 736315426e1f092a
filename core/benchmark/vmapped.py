"""Training the same network with several seeds: all in one batched computation, or one after the other.

Run as a module it measures both in turn: `python -m core.benchmark.vmapped MODEL BATCH SEEDS SECONDS` prints images/s as JSON.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

Step = Callable[[Tensor, Tensor], Tensor]
"""Images (K, B, 3, H, W) and labels (K, B) of K seeds in, one optimizer step for each, losses (K,) in nats out."""


def together(models: Sequence[nn.Module], lr: float) -> tuple[Step, dict[str, Tensor]]:
    """A step of all models at once, and their parameters stacked, each (K, ...). Only for models without batch statistics.

    AdamW works element by element, so one optimizer over the stack is K optimizers. Source: torch.func's model ensembling.
    """
    stacked, buffers = stack_module_state(list(models))
    weights = {name: value.detach().requires_grad_(True) for name, value in stacked.items()}
    skeleton = copy.deepcopy(models[0]).to("meta")
    optimizer = torch.optim.AdamW(weights.values(), lr=lr, weight_decay=0.0)

    def loss(own: dict[str, Tensor], state: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(skeleton, (own, state), (images,)), labels)

    def step(images: Tensor, labels: Tensor) -> Tensor:
        losses = vmap(loss)(weights, buffers, images, labels)
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimizer.step()
        return losses.detach()

    return step, weights


def one_by_one(models: Sequence[nn.Module], lr: float) -> Step:
    """The same steps, a model at a time."""
    optimizers = [torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0) for model in models]

    def step(images: Tensor, labels: Tensor) -> Tensor:
        losses = []
        for model, optimizer, own, wanted in zip(models, optimizers, images, labels, strict=True):
            loss = F.cross_entropy(model(own.to(memory_format=torch.channels_last)), wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    return step


def seeded(model: str, seeds: int) -> list[nn.Module]:
    """The network with the initial weights of each seed."""
    from core.models import build_model

    made = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        made.append(build_model(model, {}).to(memory_format=torch.channels_last))
    return made


def main(model: str, batch: int, seeds: int, seconds: float) -> dict[str, float]:
    """Images/s of both ways, in turns of one second."""
    steps = {"together": together(seeded(model, seeds), 1e-3)[0], "one by one": one_by_one(seeded(model, seeds), 1e-3)}
    images = torch.randn(seeds, batch, 3, 32, 32)
    labels = torch.randint(0, 10, (seeds, batch))
    done = dict.fromkeys(steps, 0)
    spent = dict.fromkeys(steps, 0.0)
    for step in steps.values():
        step(images, labels)
    while min(spent.values()) < seconds:
        for name, step in steps.items():
            started = time.perf_counter()
            while time.perf_counter() - started < 1.0:
                step(images, labels)
                done[name] += seeds * batch
            spent[name] += time.perf_counter() - started
    return {name: done[name] / spent[name] for name in steps}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
