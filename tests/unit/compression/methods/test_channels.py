"""Channels really taken out: the smaller network computes what the large one does with those channels silenced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.compression.methods import channels as module
from core.compression.methods.channels import Channels, prune_channels
from core.compression.methods.lowrank import factorise
from core.compression.steps import LowRank, PruneChannels
from core.inference.images import normalise
from core.models import clone_model
from tests.unit.compression.compressible import SMALL_WRITERS, network, outputs, random_images, reloaded, snapshot
from tests.unit.failures import refusal

SMALL = {"widths": [16, 24, 20]}


def _fast_resnet(depth: int) -> dict[str, list[str]]:
    made = {}
    for block in (f"blocks.{number}" for number in range(3)):
        inner = {f"{block}.body.{3 * index}": [f"{block}.body.{3 * index + 1}"] for index in range(depth - 1)}
        made[f"{block}.conv"] = [f"{block}.norm"]
        if depth > 2:  # the residual adds the block's first layer and its last
            last = f"{block}.body.{3 * (depth - 2)}"
            made[f"{block}.conv"] += [last, *inner.pop(last)]
        made |= inner
    return made


def _resnet18() -> dict[str, list[str]]:
    made: dict[str, list[str]] = {"conv1": ["bn1"]}
    for stage in range(1, 5):
        ends = [f"layer{stage}.{block}.{part}2" for block in (0, 1) for part in ("conv", "bn")]
        if stage == 1:
            made["conv1"] += ends
        else:
            made[f"layer{stage}.0.conv2"] = [*ends, f"layer{stage}.0.downsample.0", f"layer{stage}.0.downsample.1"]
        made |= {f"layer{stage}.{block}.conv1": [f"layer{stage}.{block}.bn1"] for block in (0, 1)}
    return made


# Architecture, settings, and by hand: the layers and norms that share each group of channels.
NETWORKS: dict[str, tuple[str, dict[str, Any], dict[str, list[str]]]] = {
    "simple_cnn": ("simple_cnn", {}, {"conv1": [], "conv2": []}),
    "simple_cnn with norms": ("simple_cnn", {"batch_norm": True}, {"conv1": ["norm1"], "conv2": ["norm2"]}),
    "fast_resnet": ("fast_resnet", SMALL, _fast_resnet(2)),
    "fast_resnet, depth 3": ("fast_resnet", SMALL | {"depth": 3, "stochastic_depth": 0.2}, _fast_resnet(3)),
    "fast_resnet, depth 4": (
        "fast_resnet",
        SMALL | {"depth": 4, "activation": "gelu", "spatial_dropout": 0.1},
        _fast_resnet(4),
    ),
    "resnet18": ("resnet18", {}, _resnet18()),
}


FACTORED = {f"blocks.{block}.{part}" for block in range(3) for part in ("conv", "body.0", "body.3")}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """What was taken out of which group, as it happens."""
    found: dict[str, list[int]] = {}
    plain = Channels.take_out

    def record(self: Channels, group: module.Group, channels: list[int]) -> None:
        found[group.name] = channels
        plain(self, group, channels)

    monkeypatch.setattr(Channels, "take_out", record)
    return found


def silenced(checkpoint: Checkpoint, taken: dict[str, list[int]], groups: dict[str, list[str]]) -> Checkpoint:
    """The checkpoint at full size, with zeros where those channels are made and normalised."""
    model = clone_model(checkpoint.model)
    for name, channels in taken.items():
        for layer in (model.get_submodule(other) for other in [name, *groups[name]]):
            for values in (layer.weight, layer.bias, getattr(layer, "running_mean", None)):
                if values is not None:
                    values[channels] = 0
    return Checkpoint("silenced", checkpoint.card, model)


def in_factors(checkpoint: Checkpoint, groups: dict[str, list[str]]) -> dict[str, list[str]]:
    """The groups where some layers are two factors: the second makes the layer's channels, the first makes its own."""
    pairs = {
        name
        for name, layer in checkpoint.model.named_modules()
        if name in FACTORED and isinstance(layer, nn.Sequential)
    }

    def last(name: str) -> str:
        return f"{name}.1" if name in pairs else name

    return {f"{name}.0": [] for name in pairs} | {
        last(name): [last(other) for other in others] for name, others in groups.items()
    }


@pytest.mark.parametrize("case", NETWORKS)
def test_groups_follow_residuals_and_leave_classifier_and_whitening_out(case: str) -> None:
    name, config, groups = NETWORKS[case]
    found = Channels(clone_model(network(name, **config).model), 32).groups
    assert [group.name for group in found] == sorted(groups, key=[group.name for group in found].index)
    assert len(found) == len(groups)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("case", NETWORKS)
def test_a_pruned_network_equals_the_masked_one_and_comes_back_from_its_card(
    case: str, scope: str, taken: dict[str, list[int]], tmp_path: Path
) -> None:
    name, config, groups = NETWORKS[case]
    original = network(name, **config)
    before = snapshot(original)
    made = prune_channels(original, PruneChannels(amount=0.4, scope=scope))
    assert snapshot(original) == before
    assert set(taken) == set(groups) or scope == "global"
    torch.testing.assert_close(outputs(made), outputs(silenced(original, taken, groups)), atol=1e-4, rtol=1e-4)
    assert made.card.parameters == sum(value.numel() for value in made.model.parameters())
    assert made.card.parameters < 0.65 * sum(value.numel() for value in original.model.parameters())
    assert torch.equal(outputs(reloaded(made, tmp_path)), outputs(made))


def test_pruning_again_and_after_low_rank_works(taken: dict[str, list[int]], tmp_path: Path) -> None:
    factors = factorise(network(widths=[32, 40, 40], depth=3), LowRank(energy=0.5))
    once = prune_channels(factors, PruneChannels(amount=0.25))
    assert any(f"{name}.0" in taken for name in factors.card.model_config["changed_layers"])  # between factors, too
    before = snapshot(once)
    taken.clear()
    twice = prune_channels(once, PruneChannels(amount=0.25))
    assert snapshot(once) == before
    expected = outputs(silenced(once, taken, in_factors(once, _fast_resnet(3))))
    torch.testing.assert_close(outputs(twice), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(outputs(reloaded(twice, tmp_path)), outputs(twice))
    assert len(twice.card.compression["steps"]) == 3


def test_a_convolution_to_one_channel_is_no_depthwise_one(taken: dict[str, list[int]]) -> None:
    original = factorise(network(widths=[32, 40, 40]), LowRank(energy=0.01))
    assert original.model.get_submodule("blocks.1.conv.0").out_channels == 1
    with pytest.raises(LabError, match="none left"):
        prune_channels(original, PruneChannels(amount=0.6))
    made = prune_channels(original, PruneChannels(amount=0.4))
    assert made.model.get_submodule("blocks.1.conv.0").weight.shape == (1, 16, 3, 3)
    expected = outputs(silenced(original, taken, in_factors(original, _fast_resnet(2))))
    torch.testing.assert_close(outputs(made), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("amount", "kept"), [(0.5, [8, 12, 10]), (0.1, [14, 22, 18]), (0.9, [2, 2, 2])])
def test_counts_are_exact_in_narrow_layers(amount: float, kept: list[int]) -> None:
    made = prune_channels(network(**SMALL), PruneChannels(amount=amount))
    assert [made.model.get_submodule(f"blocks.{block}.conv").out_channels for block in range(3)] == kept
    assert [made.model.get_submodule(f"blocks.{block}.body.0").out_channels for block in range(3)] == kept


@pytest.mark.parametrize(("amount", "kept"), [(0.5, [16, 24, 32]), (0.6, [16, 16, 24]), (0.95, [8, 8, 8])])
def test_wide_layers_keep_a_multiple_of_8(amount: float, kept: list[int]) -> None:
    made = prune_channels(network(widths=[32, 48, 64]), PruneChannels(amount=amount))
    assert [made.model.get_submodule(f"blocks.{block}.conv").out_channels for block in range(3)] == kept


def test_a_global_ranking_takes_that_many_in_all_and_at_most_nine_tenths_of_a_layer() -> None:
    original = network(**SMALL)
    conv = original.model.get_submodule("blocks.1.conv")
    conv.weight.mul_(0.01)
    conv.weight[:2].mul_(1e4)  # against these two, the others of their layer are nothing
    made = prune_channels(original, PruneChannels(amount=0.5, scope="global"))
    counts = [
        made.model.get_submodule(f"blocks.{block}.{part}").out_channels
        for block in range(3)
        for part in ("conv", "body.0")
    ]
    assert sum(counts) == 60
    assert counts[2] == 3  # of 24, at most 21 go


def test_magnitude_takes_the_channels_with_the_least_in_them(taken: dict[str, list[int]]) -> None:
    original = network("simple_cnn", widths=[10, 12])
    first, second, head = (original.model.get_submodule(name).weight for name in ("conv1", "conv2", "head"))
    prune_channels(original, PruneChannels(amount=0.3))
    sizes = {
        "conv1": first.square().sum((1, 2, 3)) + second.square().sum((0, 2, 3)),
        "conv2": second.square().sum((1, 2, 3)) + head.square().view(10, 12, -1).sum((0, 2)),
    }
    assert taken == {name: sorted(size.argsort()[: len(taken[name])].tolist()) for name, size in sizes.items()}
    assert [len(found) for found in taken.values()] == [3, 4]


def test_taylor_takes_the_channels_that_the_loss_needs_least(taken: dict[str, list[int]]) -> None:
    original = network("simple_cnn", widths=[10, 12])
    images, labels = random_images(100)
    prune_channels(original, PruneChannels(amount=0.3, importance="taylor"), images, labels)
    assert not any(value.requires_grad or value.grad is not None for value in original.model.parameters())
    model = clone_model(original.model).requires_grad_(True)
    weights = [model.conv1.weight, model.conv2.weight, model.head.weight]
    sums = {"conv1": torch.zeros(10), "conv2": torch.zeros(12)}
    for rows in (slice(0, 64), slice(64, 100)):
        logits = model(normalise(torch.from_numpy(images[rows]), original.card))
        loss = F.cross_entropy(logits, torch.from_numpy(labels[rows]), reduction="sum")
        gradients = torch.autograd.grad(loss, weights)
        needs = [(weight * gradient).detach().abs() for weight, gradient in zip(weights, gradients, strict=True)]
        sums["conv1"] += needs[0].sum((1, 2, 3)) + needs[1].sum((0, 2, 3))
        sums["conv2"] += needs[1].sum((1, 2, 3)) + needs[2].view(10, 12, -1).sum((0, 2))
    assert taken == {name: sorted(size.argsort()[: len(taken[name])].tolist()) for name, size in sums.items()}


def test_taylor_looks_at_512_images_evenly_spaced(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def record(pixels: torch.Tensor, card: Any) -> torch.Tensor:
        seen.append(pixels)
        return normalise(pixels, card)

    monkeypatch.setattr(module, "normalise", record)
    images = np.zeros((1023, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(1023) // 4
    prune_channels(
        network("simple_cnn", widths=[4, 4]), PruneChannels(importance="taylor"), images, np.zeros(1023, np.int64)
    )
    first = torch.cat(seen)[:, 0, 0, 0]
    assert len(first) == 512
    assert first[0] == 0
    assert first[-1] == 255
    assert torch.bincount(first.int()).max() == 2


def test_bn_scale_takes_the_channels_with_the_least_scale(taken: dict[str, list[int]]) -> None:
    original = network("simple_cnn", widths=[10, 12], batch_norm=True)
    prune_channels(original, PruneChannels(amount=0.3, importance="bn_scale"))
    for number in (1, 2):
        scales = original.model.get_submodule(f"norm{number}").weight
        found = taken[f"conv{number}"]
        assert found == sorted(scales.argsort()[: len(found)].tolist())


@pytest.mark.parametrize(("name", "config"), [("fast_resnet", SMALL), ("simple_cnn", {})])
def test_bn_scale_is_refused_where_all_scales_are_the_same(name: str, config: dict[str, Any]) -> None:
    with pytest.raises(LabError, match="choose magnitude"):
        prune_channels(network(name, **config), PruneChannels(importance="bn_scale"))


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_amounts_that_leave_a_layer_without_channels_are_refused(scope: str) -> None:
    with pytest.raises(LabError, match="choose less"):
        prune_channels(network(**SMALL), PruneChannels(amount=0.99, scope=scope))


def test_an_amount_that_takes_nothing_out_is_refused() -> None:
    with pytest.raises(LabError, match="choose more"):
        prune_channels(network(**SMALL), PruneChannels(amount=0.01))


def test_taylor_needs_fitting_images_and_labels() -> None:
    original, step = network(**SMALL), PruneChannels(importance="taylor")
    images, labels = random_images(4)
    for given in ((None, None), (images, None), (images[:0], labels[:0])):
        with pytest.raises(LabError, match="choose magnitude"):
            prune_channels(original, step, *given)
    with pytest.raises(LabError, match="32x32"):
        prune_channels(original, step, images[:, :16], labels)
    for wrong in (labels[:3], labels + 10, labels - 10):
        with pytest.raises(LabError, match="from 0 to 9"):
            prune_channels(original, step, images, wrong)


def test_language_models_and_broken_weights_are_refused() -> None:
    with pytest.raises(LabError, match="networks for images"):
        prune_channels(network("char_lstm", **SMALL_WRITERS["char_lstm"]), PruneChannels())
    original = network(**SMALL)
    original.model.get_submodule("blocks.0.conv").weight[0] = torch.nan
    with pytest.raises(LabError, match="not a number"):
        prune_channels(original, PruneChannels())


def test_it_works_where_gradients_are_off_and_draws_nothing() -> None:
    original = network(**SMALL)
    with torch.no_grad():
        model = clone_model(original.model)
        state = torch.get_rng_state()
        groups = Channels(model, 32).groups
    assert len(groups) == 6
    assert torch.equal(torch.get_rng_state(), state)


def test_depthwise_convolutions_are_refused() -> None:
    with refusal("depthwise convolutions"):
        prune_channels(network("efficientnet_lite0"), PruneChannels(amount=0.5))
