"""Clustering: few values, zeros that stay, and means that are means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.compression.methods.cluster import cluster, clustered
from core.compression.methods.pruning import masks_of, prune_weights
from core.compression.steps import Cluster, PruneWeights
from tests.unit.compression.compressible import SMALL_WRITERS, network, outputs, reloaded, snapshot

SMALL = {"widths": [16, 24, 32]}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("pruned", [False, True])
def test_a_tensor_has_at_most_that_many_values_and_they_are_float16(bits: int, pruned: bool) -> None:
    weights = normal(60, 70)
    if pruned:
        weights[weights.abs() < 0.5] = 0
    found = clustered(weights, 2**bits)
    assert 2**bits / 2 < len(found.unique()) <= 2**bits
    assert torch.equal(found, found.half().float())
    assert torch.equal(found == 0, weights == 0)
    assert found.shape == weights.shape
    assert found.dtype == weights.dtype


def test_every_weight_goes_to_its_nearest_value_and_every_value_is_the_mean_of_its_weights() -> None:
    weights = normal(5000)
    found = clustered(weights, 8)
    values = found.unique()
    nearest = values[(weights[:, None] - values).abs().argmin(1)]
    torch.testing.assert_close((weights - found).abs(), (weights - nearest).abs())
    for value in values:
        assert float(weights[found == value].mean()) == pytest.approx(float(value), abs=2e-3)


def test_means_are_those_of_plain_k_means_from_the_same_start() -> None:
    weights = normal(400, seed=3).double()
    centres = np.linspace(float(weights.min()), float(weights.max()), 6)
    for _ in range(300):
        owner = np.abs(weights.numpy()[:, None] - centres).argmin(1)
        centres = np.array([weights.numpy()[owner == index].mean() for index in range(6)])
    found = clustered(weights, 6).unique().numpy()
    np.testing.assert_allclose(found, centres, atol=1e-3)


def test_few_different_values_stay_as_they_are() -> None:
    weights = torch.tensor([[0.5, -0.25, 0.0], [0.5, 2.0, 0.0]])
    assert torch.equal(clustered(weights, 16), weights)
    assert torch.equal(clustered(weights, 4), weights)
    assert torch.equal(clustered(torch.zeros(3, 3), 4), torch.zeros(3, 3))
    assert torch.equal(clustered(torch.full((3, 3), 0.5), 2), torch.full((3, 3), 0.5))
    assert clustered(torch.empty(0, 3), 4).shape == (0, 3)


def test_values_that_are_no_numbers_or_too_large_for_float16_break_nothing() -> None:
    large = normal(10, 10)
    large[0, 0] = 1e6
    assert clustered(large, 4).max() == 1e6
    large[0, 0] = torch.nan
    assert clustered(large, 4).isnan().any()


@pytest.mark.parametrize(("name", "config"), [("fast_resnet", SMALL), *SMALL_WRITERS.items()])
def test_a_clustered_checkpoint_keeps_zeros_and_leaves_its_original_alone(
    name: str, config: dict[str, Any], tmp_path: Path
) -> None:
    original = prune_weights(network(name, **config), PruneWeights(amount=0.7))
    before = snapshot(original)
    made = cluster(original, Cluster(bits=5))
    assert snapshot(original) == before
    assert made.card.storage == "clustered"
    for key, value in made.model.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, value.half().float()), key
        if value.ndim >= 2 and key != "whiten.weight":
            assert len(value.unique()) <= 32, key
    kept = masks_of(original.model)
    assert all(torch.equal(mask, kept[key]) for key, mask in masks_of(made.model).items())
    assert torch.equal(outputs(reloaded(made, tmp_path)), outputs(made))


def test_the_whitening_layer_keeps_its_values() -> None:
    original = network(**SMALL)
    made = cluster(original, Cluster(bits=1)).model.get_parameter("whiten.weight")
    torch.testing.assert_close(made, original.model.get_parameter("whiten.weight"), atol=1e-3, rtol=1e-3)


def test_more_bits_lose_less() -> None:
    weights = normal(100, 100)
    errors = [float((clustered(weights, 2**bits) - weights).square().mean()) for bits in range(1, 9)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 0.02  # Max (1960): 16 levels for a normal variable leave 0.0095
