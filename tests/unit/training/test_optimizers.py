"""Optimizers, schedules and averages against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.models import build_model
from core.training.config import TrainConfig
from core.training.optimizers import Average, Muon, build_optimizers, lr_factor, orthogonalise
from core.training.recipes import (
    FEWEST_EVALUATIONS,
    MEASURED,
    MOST_EPOCHS,
    RECIPES,
    describe_recipe,
    fit_to_data,
)


def test_orthogonalise_keeps_directions_and_levels_singular_values() -> None:
    torch.manual_seed(0)
    for shape in ((3, 20, 60), (2, 60, 20)):
        matrices = torch.randn(shape)
        result = orthogonalise(matrices, steps=5)
        for before, after in zip(matrices, result, strict=True):
            u, _, v = torch.linalg.svd(before, full_matrices=False)
            core = u.T @ after @ v.T
            values = core.diagonal()
            assert ((values > 0.6) & (values < 1.3)).all()
            assert (core - torch.diag(values)).abs().max() < 1e-3


def test_muon_treats_filters_in_a_batch_as_it_would_alone() -> None:
    torch.manual_seed(0)
    start = [torch.randn(8, 4, 3, 3) for _ in range(3)]
    grads = [torch.randn(8, 4, 3, 3) for _ in range(3)]
    together = [nn.Parameter(item.clone()) for item in start]
    alone = [nn.Parameter(item.clone()) for item in start]
    for parameters, optimizers in (
        (together, [Muon(together, lr=0.1)]),
        (alone, [Muon([parameter], lr=0.1) for parameter in alone]),
    ):
        for _ in range(3):
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad.clone()
            for optimizer in optimizers:
                optimizer.step()
    for first, second in zip(together, alone, strict=True):
        assert torch.allclose(first, second, atol=1e-5)


def test_muon_by_hand_for_one_step() -> None:
    torch.manual_seed(0)
    weight, grad = torch.randn(6, 2, 3, 3), torch.randn(6, 2, 3, 3)
    parameter = nn.Parameter(weight.clone())
    parameter.grad = grad.clone()
    Muon([parameter], lr=0.05, momentum=0.6).step()
    update = orthogonalise((1.6 * grad).reshape(1, 6, 18)).view_as(weight)
    assert torch.allclose(parameter, weight * 6**0.5 / weight.norm() - 0.05 * update, atol=1e-5)


def test_muon_gets_filters_only_and_whitening_is_left_alone() -> None:
    model = build_model("fast_resnet", {})
    sgd, muon = build_optimizers(model, RECIPES["fast_resnet"]["default"])
    filters = [parameter for group in muon.param_groups for parameter in group["params"]]
    others = [parameter for group in sgd.param_groups for parameter in group["params"]]
    assert len(filters) == 6
    assert all(parameter.ndim == 4 for parameter in filters)
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert {id(parameter) for parameter in filters + others} == trained
    assert id(model.whiten.weight) not in trained


@pytest.mark.parametrize("schedule", ["constant", "cosine", "triangular"])
def test_schedules_rise_to_one_and_end_near_zero(schedule: str) -> None:
    config = TrainConfig(schedule=schedule, warmup=0.25)
    factors = [lr_factor(config, step, 100) for step in range(100)]
    rise, fall = factors[:26], factors[25:]
    assert rise == sorted(rise)
    assert max(factors) == 1.0
    assert factors[0] == pytest.approx(1 / 26)
    assert fall == sorted(fall, reverse=True)
    assert fall[-1] == pytest.approx({"constant": 1.0, "cosine": 0.0, "triangular": 1 / 75}[schedule], abs=1e-3)


def test_average_equals_the_recursion() -> None:
    fast = nn.Linear(3, 2)
    ema = Average(fast, TrainConfig(average="ema", average_decay=0.5))
    expected = fast.weight.detach().clone()
    for update in range(1, 4):
        with torch.no_grad():
            fast.weight.add_(1.0)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * fast.weight.detach()
        ema.update()
    assert torch.allclose(ema.model.weight, expected, atol=1e-6)
    assert not torch.equal(ema.model.weight, fast.weight)


@pytest.mark.parametrize(
    ("optimizer", "bias", "head"),
    [("adam", 0.01, 0.01), ("adamw", 0.01, 0.01), ("sgd", 3.0, 0.01), ("muon", 3.0, 0.5)],
)
def test_rates_of_their_own_go_to_those_optimizers_that_say_so(optimizer: str, bias: float, head: float) -> None:
    model = build_model("simple_cnn", {})
    config = TrainConfig(optimizer=optimizer, lr=0.01, bias_lr=3.0, head_lr=0.5)
    rates = {
        id(parameter): group["peak_lr"]
        for made in build_optimizers(model, config)
        for group in made.param_groups
        for parameter in group["params"]
    }
    assert len(rates) == 6
    assert rates[id(model.conv1.bias)] == bias
    assert rates[id(model.head.weight)] == head
    assert rates[id(model.conv1.weight)] == 0.01


def test_a_recipe_takes_as_many_steps_on_other_data() -> None:
    quick = RECIPES["simple_cnn"]["quick"]
    for examples in (1000, 5000, 20_000):
        fitted = fit_to_data(quick, examples)
        assert fitted.epochs * (examples // 128) == pytest.approx(3 * (45_000 // 128), rel=0.06)
        assert fitted.eval_every >= quick.eval_every
        assert fitted.replace(epochs=3, eval_every=1) == quick, "nothing else is touched"
    assert fit_to_data(quick, 45_000) == quick
    assert fit_to_data(quick, 10**6).epochs == 1, "everything is seen once"
    few = fit_to_data(quick, 100)
    assert (few.epochs, few.epochs / few.eval_every) == (MOST_EPOCHS, FEWEST_EVALUATIONS)
    text = RECIPES["char_lstm"]["quick"]
    assert fit_to_data(text, 100_000).epochs == pytest.approx(10 * text.epochs, rel=0.06)


def test_every_recipe_is_described() -> None:
    for model, recipes in RECIPES.items():
        for name, config in recipes.items():
            assert (config.model, config.recipe) == (model, name)
            assert f"{config.epochs:g} epochs" in describe_recipe(model, name)
    assert all(name in RECIPES[model] for model, name in MEASURED)
