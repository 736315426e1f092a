"""Pruning of single weights: exact counts, what is left out, and what a float16 or coded checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.compression.methods.pruning import (
    LEAST_KEPT,
    apply_masks,
    code,
    cubic_amount,
    half,
    magnitude_masks,
    masks_of,
    prunable,
    prune_weights,
)
from core.compression.steps import Float16, HuffmanCode, PruneWeights
from core.models import build_model
from tests.unit.compression.compressible import SMALL_WRITERS, network, outputs, reloaded, snapshot

SMALL = {"widths": [16, 24, 32]}


def zeros(model: nn.Module) -> tuple[int, int]:
    weights = prunable(model).values()
    return sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)


def test_weights_of_convolutions_and_linear_layers_are_pruned_but_the_whitening() -> None:
    names = list(prunable(build_model("fast_resnet", SMALL)))
    assert names == [f"blocks.{block}.{part}.weight" for block in range(3) for part in ("conv", "body.0")] + [
        "head.weight"
    ]
    assert list(prunable(build_model("simple_cnn", {"batch_norm": True}))) == [
        "conv1.weight",
        "conv2.weight",
        "head.weight",
    ]


def test_recurrent_matrices_are_pruned_and_embeddings_are_not() -> None:
    found = {name: list(prunable(build_model(name, config))) for name, config in SMALL_WRITERS.items()}
    assert found["char_lstm"] == ["layers.0.weight_ih_l0", "layers.0.weight_hh_l0", "head.weight"]
    assert found["char_gru"] == [f"layers.{layer}.weight_{part}_l0" for layer in (0, 1) for part in ("ih", "hh")]
    assert found["char_gpt"] == [
        f"blocks.0.{part}.weight" for part in ("attention.qkv", "attention.out", "feed", "back")
    ]


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(("name", "config"), [("fast_resnet", SMALL), *SMALL_WRITERS.items()])
def test_amount_0_gives_identical_logits(name: str, config: dict[str, Any], scope: str) -> None:
    checkpoint = network(name, **config)
    before = outputs(checkpoint)
    masks = magnitude_masks(checkpoint.model, 0.0, scope)
    assert all(bool(mask.all()) for mask in masks.values())
    apply_masks(checkpoint.model, masks)
    assert torch.equal(outputs(checkpoint), before)


@pytest.mark.parametrize("amount", [0.1, 0.5, 1 / 3, 0.9])
def test_a_global_cut_takes_exactly_the_smallest_weights_of_the_network(amount: float) -> None:
    model = network(**SMALL).model
    weights = prunable(model)
    for weight in weights.values():
        nn.init.normal_(weight)
    flat = torch.cat([weight.flatten() for weight in weights.values()]).abs()
    masks = torch.cat([mask.flatten() for mask in magnitude_masks(model, amount).values()])
    assert int((~masks).sum()) == round(amount * len(flat))
    assert flat[~masks].max() <= flat[masks].min()


@pytest.mark.parametrize("amount", [0.1, 0.5, 1 / 3, 0.9])
def test_a_cut_by_layer_takes_exactly_that_share_of_each(amount: float) -> None:
    model = network(**SMALL).model
    for name, mask in magnitude_masks(model, amount, "layer").items():
        size = prunable(model)[name].abs()
        assert int((~mask).sum()) == round(amount * mask.numel())
        assert size[~mask].max() <= size[mask].min()


def test_of_equal_weights_the_earlier_go_so_that_a_cut_is_the_same_every_time() -> None:
    model = nn.Sequential(nn.Linear(4, 3, bias=False))
    model[0].weight.data = torch.tensor([[2.0, -1.0, 1.0, 1.0], [-1.0, 3.0, 1.0, 1.0], [1.0, 1.0, -1.0, 4.0]])
    mask = magnitude_masks(model, 5 / 12)["0.weight"]
    assert mask.int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 1]]


def test_a_global_cut_ends_no_layer() -> None:
    model = network(**SMALL).model
    weights = prunable(model)
    weights["blocks.1.conv.weight"].mul_(1e-6)  # all of it below everything else
    masks = magnitude_masks(model, 0.9)
    assert int(masks["blocks.1.conv.weight"].sum()) == int(LEAST_KEPT * weights["blocks.1.conv.weight"].numel())
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(0.9 * zeros(model)[1])


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_even_the_largest_amount_leaves_every_layer_a_weight(scope: str) -> None:
    masks = magnitude_masks(network(**SMALL).model, 0.999999, scope)
    assert [int(mask.sum()) for mask in masks.values()] == [1] * len(masks)


@pytest.mark.parametrize("amount", [-0.1, 1, 1.5, float("nan"), "half", True])
def test_amounts_out_of_range_are_refused(amount: Any) -> None:
    with pytest.raises(LabError, match="from 0 to below 1"):
        magnitude_masks(network(**SMALL).model, amount)


def test_a_scope_that_does_not_exist_and_weights_that_are_not_numbers_are_refused() -> None:
    model = network(**SMALL).model
    with pytest.raises(LabError, match="one of global, layer"):
        magnitude_masks(model, 0.5, "block")
    prunable(model)["head.weight"][0, 0] = torch.nan
    with pytest.raises(LabError, match="not numbers"):
        magnitude_masks(model, 0.5)


def test_pruned_weights_are_zero_without_a_sign() -> None:
    pruned = prune_weights(network(**SMALL), PruneWeights(amount=0.5))
    for weight in prunable(pruned.model).values():
        assert not torch.signbit(weight[weight == 0]).any()


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(("name", "config"), [("fast_resnet", SMALL), *SMALL_WRITERS.items()])
def test_a_pruned_checkpoint_has_that_many_zeros_and_its_original_is_untouched(
    name: str, config: dict[str, Any], scope: str
) -> None:
    original = network(name, **config)
    before = snapshot(original)
    pruned = prune_weights(original, PruneWeights(amount=0.6, scope=scope))
    assert snapshot(original) == before
    count, total = zeros(pruned.model)
    assert abs(count - 0.6 * total) <= len(prunable(pruned.model))
    assert pruned.card.parent == "original"
    assert pruned.card.compression["steps"] == [{"step": "prune_weights", "amount": 0.6, "scope": scope}]


def test_pruning_again_keeps_the_zeros_and_masks_of_finds_them() -> None:
    once = prune_weights(network(**SMALL), PruneWeights(amount=0.5))
    twice = prune_weights(once, PruneWeights(amount=0.8))
    for name, kept in masks_of(twice.model).items():
        assert not (kept & ~masks_of(once.model)[name]).any()
    noisy = network(seed=1, **SMALL)
    apply_masks(noisy.model, masks_of(twice.model))
    assert zeros(noisy.model) == zeros(twice.model)


def test_the_cubic_schedule_starts_and_ends_where_it_should_and_only_rises() -> None:
    amounts = [cubic_amount(step, 100, 0.9) for step in range(101)]
    assert amounts[0] == 0
    assert amounts[70] == amounts[100] == 0.9
    assert amounts[35] == pytest.approx(0.9 * (1 - 0.5**3))  # halfway: an eighth is left to do
    assert amounts == sorted(amounts)
    assert cubic_amount(0, 0, 0.9) == 0
    assert cubic_amount(1, 0, 0.9) == 0.9


@pytest.mark.parametrize(("name", "config"), [("fast_resnet", SMALL), *SMALL_WRITERS.items()])
def test_what_float16_measures_is_what_its_file_holds(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    original = network(name, **config)
    before = snapshot(original)
    small = half(original, Float16())
    assert snapshot(original) == before
    assert small.card.storage == "float16"
    assert all(torch.equal(value, value.half().float()) for value in small.model.parameters())
    torch.testing.assert_close(outputs(small), outputs(original), atol=2e-2, rtol=2e-2)
    assert not torch.equal(outputs(small), outputs(original))
    assert torch.equal(outputs(reloaded(small, tmp_path)), outputs(small))


def test_a_tensor_beyond_float16_keeps_its_values() -> None:
    original = network(**SMALL)
    original.model.get_parameter("head.weight")[0, 0] = 1e6
    kept = half(original, Float16()).model.get_parameter("head.weight")
    assert torch.equal(kept, original.model.get_parameter("head.weight"))


def test_coding_changes_how_a_checkpoint_is_stored_and_nothing_else(tmp_path: Path) -> None:
    original: Checkpoint = prune_weights(network(**SMALL), PruneWeights(amount=0.9))
    coded = code(original, HuffmanCode())
    assert coded.card.storage == "coded"
    assert torch.equal(outputs(coded), outputs(original))
    assert torch.equal(outputs(reloaded(coded, tmp_path)), outputs(original))
