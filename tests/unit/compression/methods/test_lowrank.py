"""Low rank: factors that are the singular value decomposition's, and only where they save multiply-adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.compression.methods.lowrank import factorise, rank_of
from core.compression.steps import LowRank
from tests.unit.compression.compressible import network, outputs, reloaded, snapshot

SMALL = {"widths": [32, 48, 48], "depth": 3}
STRIDES = {f"layer{stage}.0.{part}": (2, 2) for stage in (2, 3, 4) for part in ("conv1", "downsample.0")}
"""Of ResNet-18."""


def thinned(name: str, rank: int = 5, **config: Any) -> Checkpoint:
    """A network whose larger layers have exactly that rank."""
    checkpoint = network(name, **config)
    for module in checkpoint.model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            outputs_, inputs = module.weight.flatten(1).shape
            if min(outputs_, inputs) >= 32:
                product = torch.randn(outputs_, rank) @ torch.randn(rank, inputs)
                module.weight.copy_(product.view(module.weight.shape) * (2 / (rank * inputs)) ** 0.5)
    return checkpoint


def pairs(checkpoint: Checkpoint) -> dict[str, nn.Sequential]:
    names = {
        name.rpartition(".")[0] for name, module in checkpoint.model.named_modules() if isinstance(module, nn.Conv2d)
    }
    changed = checkpoint.card.model_config.get("changed_layers", {})
    return {name: checkpoint.model.get_submodule(name) for name in names & set(changed)}


@pytest.mark.parametrize(
    ("name", "config"),
    [("fast_resnet", SMALL), ("simple_cnn", {"widths": [32, 64], "batch_norm": True}), ("resnet18", {})],
)
def test_energy_near_1_gives_the_same_logits_and_comes_back_from_its_card(
    name: str, config: dict[str, Any], tmp_path: Path
) -> None:
    original = thinned(name, **config)
    before = snapshot(original)
    made = factorise(original, LowRank(energy=0.99999999))
    assert snapshot(original) == before
    assert pairs(made)
    assert all(pair[0].out_channels == 5 for pair in pairs(made).values())
    assert made.card.parameters < sum(value.numel() for value in original.model.parameters())
    assert all(
        (pair[0].stride, pair[1].stride) == (STRIDES.get(place, (1, 1)), (1, 1)) for place, pair in pairs(made).items()
    )
    torch.testing.assert_close(outputs(made), outputs(original), atol=1e-3, rtol=1e-3)
    assert torch.equal(outputs(reloaded(made, tmp_path)), outputs(made))


def test_factors_are_the_nearest_of_their_rank() -> None:
    original = network(**SMALL)
    weight = original.model.get_parameter("blocks.1.body.0.weight").flatten(1)
    nn.init.normal_(weight)
    first, second = pairs(factorise(original, LowRank(energy=0.7)))["blocks.1.body.0"]
    left, singular, right = torch.linalg.svd(weight.double(), full_matrices=False)
    rank = first.out_channels
    assert singular[:rank].square().sum() >= 0.7 * singular.square().sum() > singular[: rank - 1].square().sum()
    product = second.weight.flatten(1) @ first.weight.flatten(1)
    torch.testing.assert_close(
        product.double(), (left[:, :rank] * singular[:rank]) @ right[:rank], atol=1e-4, rtol=1e-4
    )


def test_a_layer_that_would_take_more_multiply_adds_stays() -> None:
    original = network(**SMALL)
    for index, name in enumerate(("blocks.1.conv.weight", "blocks.1.body.0.weight")):
        weight = original.model.get_parameter(name)
        outputs_, inputs = weight.flatten(1).shape
        basis = torch.zeros(outputs_, inputs)
        # Rank just below and just above where factors break even, rank * (outputs + inputs) = outputs * inputs.
        rank = outputs_ * inputs // (outputs_ + inputs) + index
        basis[range(rank), range(rank)] = 1.0
        weight.copy_(basis.view(weight.shape))
    made = pairs(factorise(original, LowRank(energy=0.999999)))
    assert "blocks.1.conv" in made
    assert "blocks.1.body.0" not in made


def test_small_layers_and_the_whitening_stay() -> None:
    made = factorise(network(**SMALL), LowRank(energy=0.05))
    assert set(pairs(made)) == {f"blocks.{block}.{part}" for block in range(3) for part in ("conv", "body.0", "body.3")}
    with pytest.raises(LabError, match="choose less"):
        factorise(network(widths=[8, 8, 8]), LowRank(energy=0.05))


def test_a_bias_goes_to_the_second_factor() -> None:
    original = network("simple_cnn", widths=[32, 40])
    original.model.get_parameter("conv2.bias").copy_(torch.arange(40.0))
    first, second = pairs(factorise(original, LowRank(energy=0.3)))["conv2"]
    assert first.bias is None
    assert torch.equal(second.bias, torch.arange(40.0))


def test_a_layer_with_more_outputs_than_inputs_is_factorised_too() -> None:
    original = thinned("simple_cnn", widths=[32, 400])
    made = factorise(original, LowRank(energy=0.9999999))
    assert pairs(made)["conv2"][0].out_channels == 5
    torch.testing.assert_close(outputs(made), outputs(original), atol=1e-3, rtol=1e-3)


def test_energy_that_keeps_all_is_refused_and_factors_are_not_factorised_again() -> None:
    with pytest.raises(LabError, match="choose less"):
        factorise(network("simple_cnn"), LowRank(energy=0.9999999))
    once = factorise(network(**SMALL), LowRank(energy=0.6))
    with pytest.raises(LabError, match="choose less"):
        factorise(once, LowRank(energy=0.1))


def test_rank_of() -> None:
    singular = torch.tensor([4.0, 2.0, 2.0, 1.0], dtype=torch.float64)  # squares 16, 4, 4, 1 of 25
    assert [rank_of(singular, energy) for energy in (0.01, 0.64, 0.65, 0.8, 0.96, 0.97)] == [1, 1, 2, 2, 3, 4]
    assert rank_of(torch.zeros(3), 0.9) == 1


def test_weights_that_are_not_numbers_are_refused() -> None:
    original = network(**SMALL)
    original.model.get_parameter("blocks.0.conv.weight")[0, 0, 0, 0] = torch.nan
    with pytest.raises(LabError, match="not numbers"):
        factorise(original, LowRank())
