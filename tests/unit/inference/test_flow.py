"""Flow matching against closed forms: the field of normal distributions, a Gaussian mixture, guidance, the solver's order."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from core.inference.flow import draw_times, flow_loss, guide, integrate


def normal_field(mean: Tensor, sd: Tensor):  # type: ignore[no-untyped-def]
    """The true mean velocity from a standard normal to N(mean, sd²), each coordinate on its own (Lipman et al., example II)."""

    def velocity(point: Tensor, time: Tensor, classes: Tensor) -> Tensor:
        t = time[:, None]
        variance = (1 - t) ** 2 + (t * sd) ** 2
        slope = (t * sd**2 - (1 - t)) / variance
        return mean + slope * (point - t * mean)

    return velocity


def test_the_true_field_of_a_normal_distribution_gives_its_samples_and_the_least_loss() -> None:
    torch.manual_seed(0)
    mean, sd = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0])
    velocity, classes = normal_field(mean, sd), torch.zeros(20_000, dtype=torch.long)
    noise = torch.randn(20_000, 2)
    *_, made = integrate(guide(velocity, classes, 1, 1.0), noise, 100)
    assert torch.allclose(made, mean + sd * noise, atol=0.02)  # the flow of a normal distribution is affine
    data, time = mean + sd * torch.randn(20_000, 2), draw_times(20_000)
    at_truth = float(flow_loss(velocity, data, noise, time, classes).mean())
    for shift in (0.3, -0.3):
        off = flow_loss(lambda x, t, c, by=shift: velocity(x, t, c) + by, data, noise, time, classes).mean()
        assert float(off) == pytest.approx(at_truth + shift**2, abs=0.02)


def test_a_network_learns_a_mixture_of_normal_distributions_by_class() -> None:
    """Eight points of a circle in two classes: each class's samples lie at its own four."""
    torch.manual_seed(0)
    angles = torch.arange(8) * math.pi / 4
    centres = 3 * torch.stack([angles.cos(), angles.sin()], dim=1)
    layers = nn.Sequential(nn.Linear(5, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

    def velocity(point: Tensor, time: Tensor, classes: Tensor) -> Tensor:
        hot = nn.functional.one_hot(classes, 2).float()
        return layers(torch.cat([point, time[:, None], hot], dim=1))  # type: ignore[no-any-return]

    optimizer = torch.optim.Adam(layers.parameters(), lr=5e-3)
    for _ in range(800):
        place = torch.randint(8, (256,))
        data = centres[place] + 0.2 * torch.randn(256, 2)
        loss = flow_loss(velocity, data, torch.randn(256, 2), draw_times(256), place % 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for label in (0, 1):
        classes = torch.full((800,), label)
        with torch.no_grad():
            *_, made = integrate(guide(velocity, classes, 2, 1.0), torch.randn(800, 2), 30)
        near, place = torch.cdist(made, centres).min(1)
        assert (near < 0.8).float().mean() > 0.85  # of noise it would be under a tenth
        assert (place[near < 0.8] % 2 == label).float().mean() > 0.97
        assert sorted((torch.bincount(place[near < 0.8], minlength=8) > 50).nonzero().flatten().tolist()) == [
            label + 2 * number for number in range(4)
        ]


def test_guidance_one_is_the_plain_field_zero_that_of_any_class_and_two_goes_on() -> None:
    seen: list[Tensor] = []

    def velocity(point: Tensor, time: Tensor, classes: Tensor) -> Tensor:
        seen.append(classes)
        return point * 0 + classes[:, None].float()

    classes, point, time = torch.tensor([1, 2]), torch.zeros(2, 3), torch.zeros(2)
    assert torch.equal(guide(velocity, classes, 5, 1.0)(point, time), velocity(point, time, classes))
    assert torch.equal(guide(velocity, classes, 5, 0.0)(point, time), torch.full((2, 3), 5.0))
    guided = guide(velocity, classes, 5, 2.0)(point, time)
    assert torch.equal(guided, torch.tensor([[-3.0] * 3, [-1.0] * 3]))  # 5 + 2 (class - 5)
    assert seen[-1].tolist() == [1, 2, 5, 5]


def test_the_solver_is_of_second_order_and_exact_for_straight_paths() -> None:
    start = torch.tensor([[1.0]], dtype=torch.float64)
    *_, straight = integrate(lambda x, t: torch.full_like(x, 2.0), start, 3)
    assert straight.item() == pytest.approx(3.0)

    def error(steps: int) -> float:
        *_, end = integrate(lambda x, t: x * torch.cos(3 * t)[:, None].double(), start, steps)
        return abs(end.item() - math.exp(math.sin(3) / 3))

    assert error(40) < error(20) / 3
    assert len(list(integrate(lambda x, t: x, start, 7))) == 8


def test_times_are_logistic_normal() -> None:
    times = draw_times(40_000, torch.Generator().manual_seed(1))
    logits = torch.logit(times)
    assert abs(float(logits.mean())) < 0.02
    assert float(logits.std()) == pytest.approx(1, abs=0.02)
