"""Seeds trained in one batched computation are the seeds trained one by one."""

from __future__ import annotations

import pytest
import torch

from core.benchmark.vmapped import one_by_one, seeded, together


def test_seeds_trained_together_equal_seeds_trained_separately() -> None:
    seeds, steps = 3, 5
    random = torch.Generator().manual_seed(0)
    images = torch.randn(steps, seeds, 8, 3, 32, 32, generator=random)
    labels = torch.randint(0, 10, (steps, seeds, 8), generator=random)
    batched, weights = together(seeded("simple_cnn", seeds), lr=1e-3)
    models = seeded("simple_cnn", seeds)
    separate = one_by_one(models, lr=1e-3)
    for step in range(steps):
        torch.testing.assert_close(
            batched(images[step], labels[step]), separate(images[step], labels[step]), rtol=1e-3, atol=1e-4
        )
    for name, stack in weights.items():
        for seed, model in enumerate(models):
            trained = model.get_parameter(name)
            start = seeded("simple_cnn", seeds)[seed].get_parameter(name)
            assert float((trained - start).detach().abs().max()) > 1e-4, "nothing was trained"
            # Adam divides by the size of a gradient, so what rounds differently there differs by some 1% of a step.
            assert float((stack[seed] - trained).detach().abs().max()) == pytest.approx(0.0, abs=5e-4), name
