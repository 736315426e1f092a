"""Changed layers: what a card says of them is enough to build the network again, and plans that cannot be are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from core.common.errors import LabError
from core.models import LAYERS, build_model
from core.models.surgery import MOST, apply_changes, layer_changes

PLANS: dict[str, dict[str, dict[str, Any]]] = {
    "simple_cnn": {
        "conv1": {"out": 20},
        "norm1": {"in": 20, "out": 20},
        "conv2": {"in": 20, "out": 30, "rank": 9},
        "norm2": {"removed": True},
        "head": {"in": 30 * 36, "rank": 4, "bias": False},
    },
    "fast_resnet": {
        "whiten": {"out": 10, "bias": False},
        "blocks.0.conv": {"in": 10, "out": 40, "bias": True},
        "blocks.0.norm": {"removed": True},
        "blocks.0.body.0": {"in": 40, "out": 50},
        "blocks.0.body.1": {"in": 50, "out": 50},
        "blocks.1.conv": {"in": 50, "rank": 12},
        "head": {"rank": 3},
    },
    "resnet18": {
        "conv1": {"bias": True},
        "bn1": {"removed": True},
        "layer1.0.conv1": {"out": 17},
        "layer1.0.bn1": {"in": 17, "out": 17},
        "layer1.0.conv2": {"in": 17},
        "layer2.0.downsample.0": {"rank": 5, "bias": True},
        "layer2.0.downsample.1": {"removed": True},
        "layer3.1.conv2": {"rank": 7},
        "fc": {"rank": 4},
    },
}
CONFIGS: dict[str, dict[str, Any]] = {"simple_cnn": {"batch_norm": True}, "fast_resnet": {}, "resnet18": {}}
BAD: list[tuple[Any, str]] = [
    (3, "must map names"),
    ([{"conv1": {"out": 3}}], "must map names"),
    ({"conv9": {"out": 3}}, "no layer named"),
    ({"": {"removed": True}}, "no layer named"),
    ({"conv1.weight": {"out": 3}}, "no layer named"),
    ({"conv1": 3}, "may set"),
    ({"conv1": {}}, "may set"),
    ({"conv1": {"kernel_size": 5}}, "may set"),
    ({"conv1": {"out": 0}}, "out=0"),
    ({"conv1": {"out": -1}}, "out=-1"),
    ({"conv1": {"out": MOST + 1}}, "is not valid"),
    ({"conv1": {"out": 2.0}}, "out=2.0"),
    ({"conv1": {"out": True}}, "out=True"),
    ({"conv1": {"rank": "x" * 500}}, "is not valid"),
    ({"conv1": {"bias": 1}}, "bias=1"),
    ({"conv1": {"removed": "yes"}}, "removed="),
    ({"relu1": {"out": 3}}, "cannot be changed"),
    ({"pool1": {"removed": True}}, "cannot be changed"),
    ({"norm1": {"rank": 3}}, "batch norm"),
    ({"norm1": {"in": 3, "out": 4}}, "batch norm"),
    ({"norm1": {"in": 3}}, "batch norm"),
]


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_read_back_from_the_network_it_made(name: str) -> None:
    plan = PLANS[name]
    original = build_model(name, CONFIGS[name])
    changed = apply_changes(build_model(name, CONFIGS[name]), plan)
    assert layer_changes(changed, original) == plan
    assert layer_changes(original, build_model(name, CONFIGS[name])) == {}
    assert shapes(apply_changes(build_model(name, CONFIGS[name]), {})) == shapes(original)
    again = build_model(name, CONFIGS[name] | {LAYERS: plan})
    assert shapes(again) == shapes(changed) != shapes(original)
    again.load_state_dict(changed.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), changed.eval()(images))
    assert changed(images).shape == (2, 10)


def test_what_is_left_out_stays_as_it_is() -> None:
    model = build_model("fast_resnet", {})
    norm, conv, stem = model.blocks[0].norm, model.blocks[0].conv, model.whiten
    apply_changes(model, {"blocks.0.norm": {"out": 9}, "blocks.0.conv": {"out": 9}, "whiten": {"out": 6}})
    new = model.blocks[0].norm
    assert (new.num_features, new.momentum, new.eps) == (9, norm.momentum, norm.eps)
    assert new.weight.requires_grad == norm.weight.requires_grad is False
    assert new.bias.requires_grad
    assert (model.blocks[0].conv.padding, model.blocks[0].conv.in_channels) == (conv.padding, conv.in_channels)
    assert model.blocks[0].conv.bias is None
    assert model.blocks[0].conv.weight.requires_grad
    assert model.whiten.weight.requires_grad == stem.weight.requires_grad is False
    assert model.whiten.bias.requires_grad


def test_factors_look_with_the_old_kernel_and_then_mix_channels() -> None:
    model = build_model("resnet18", {LAYERS: {"layer2.0.conv1": {"rank": 5}}})
    first, last = model.layer2[0].conv1
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (2, 2), (1, 1))
    assert (first.in_channels, first.out_channels, last.in_channels, last.out_channels) == (64, 5, 5, 128)
    assert last.kernel_size == (1, 1)


@pytest.mark.parametrize(("plan", "words"), BAD, ids=[str(plan)[:40] for plan, _ in BAD])
def test_a_plan_that_cannot_be_is_one_sentence(plan: Any, words: str) -> None:
    with pytest.raises(LabError, match=words):
        apply_changes(build_model("simple_cnn", {"batch_norm": True}), plan)
    with pytest.raises(LabError, match=words):
        build_model("simple_cnn", {"batch_norm": True, LAYERS: plan})


def test_however_large_a_plan_is_a_network_without_memory_takes_none() -> None:
    with torch.device("meta"):
        model = build_model("simple_cnn", {LAYERS: {"head": {"in": MOST, "out": MOST}}})
    assert model.head.weight.numel() == MOST**2
    assert model.head.weight.is_meta


def test_a_layer_that_works_in_groups_is_left_alone() -> None:
    with pytest.raises(LabError, match="groups of channels"):
        apply_changes(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), {"0": {"out": 2}})
