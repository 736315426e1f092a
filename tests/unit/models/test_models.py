"""Architectures: the published sizes, and what attribution methods need of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from core.common.errors import LabError
from core.models import DESIGNS, MODELS, build_model
from core.models.stochastic_depth import StochasticDepth
from core.models.tta import tta_logits


@pytest.mark.parametrize("name", DESIGNS)
def test_parameter_counts_are_as_stated(name: str) -> None:
    model = build_model(name, {})
    assert sum(parameter.numel() for parameter in model.parameters()) == MODELS[name].parameters
    if MODELS[name].task == "text":
        assert model.eval()(torch.zeros(2, 7, dtype=torch.long))[0].shape == (2, 7, 65)
    elif MODELS[name].task == "generation":
        time, classes = torch.zeros(2), torch.zeros(2, dtype=torch.long)
        assert model.eval()(torch.zeros(2, 3, 32, 32), time, classes).shape == (2, 3, 32, 32)
    else:
        assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_simple_cnn_is_the_textbook_network() -> None:
    model = build_model("simple_cnn", {})
    assert sum(parameter.numel() for parameter in model.parameters()) == 42_442
    kinds = [type(module) for module in model.children() if not isinstance(module, nn.Identity)]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear]
    optional = build_model("simple_cnn", {"dropout": 0.3, "batch_norm": True})
    assert {type(module) for module in optional.children()} >= {nn.Dropout, nn.BatchNorm2d}


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_simple_cnn_pools_first_in_training_and_learns_the_same(pooling: str) -> None:
    model = build_model("simple_cnn", {})
    if pooling == "average":  # which may not change places with ReLU
        model.pool1 = nn.AvgPool2d(2)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for mode in (True, False):
        model.train(mode).zero_grad()
        logits = model(images)
        logits.square().sum().backward()
        found.append([logits.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    assert all(map(torch.equal, *found))


DROPS = {"dropout": 0.5, "spatial_dropout": 0.2, "stochastic_depth": 0.4}
DEEP = {"depth": 3, "widths": [16, 24, 32]}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("simple_cnn", {"dropout": 0.5, "spatial_dropout": 0.2}),
        ("fast_resnet", {}),
        ("fast_resnet", DEEP),
        ("fast_resnet", {"activation": "gelu"}),
        ("fast_resnet", DEEP | DROPS),
        ("resnet18", {}),
        ("resnet18", DROPS),
        ("efficientnet_lite0", {"upscale_to": 48, "dropout": 0.2}),
    ],
)
def test_every_module_is_called_once_and_changes_nothing_in_place(name: str, config: dict) -> None:
    model = build_model(name, config).eval()
    calls: dict[nn.Module, int] = {}
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        kept.extend([(inputs[0], inputs[0].clone()), (output, output.clone())])

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(hook)
    model(torch.randn(2, 3, 32, 32))
    assert set(calls.values()) == {1}
    assert all(torch.equal(tensor, copy) for tensor, copy in kept)


def test_whitening_makes_patches_uncorrelated_with_unit_variance() -> None:
    torch.manual_seed(0)
    smooth = nn.functional.avg_pool2d(
        torch.randn(64, 3, 34, 34), 3, stride=1
    )  # neighbours are correlated, as in photos
    model = build_model("fast_resnet", {})
    model.initialise_from_data(smooth, eps=0.0)
    responses = model.whiten(smooth).detach() - model.whiten.bias.view(1, -1, 1, 1)
    flat = responses[:, :12].permute(0, 2, 3, 1).reshape(-1, 12)
    assert torch.allclose(flat.T @ flat / len(flat), torch.eye(12), atol=1e-3)
    assert torch.allclose(responses[:, 12:], -responses[:, :12], atol=1e-5)


def test_other_class_counts_and_image_sizes() -> None:
    for name, side in (("simple_cnn", 28), ("fast_resnet", 64), ("resnet18", 48)):
        model = build_model(name, {"classes": 3, "image_size": side}).eval()
        assert model(torch.zeros(1, 3, side, side)).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("alexnet", {}, "simple_cnn"),
        ("simple_cnn", {"dropout": 1.0}, "below 1"),
        ("simple_cnn", {"image_size": 4}, "at least 10"),
        ("fast_resnet", {"widths": [1]}, "3 values"),
        ("fast_resnet", {"stochastic_depth": 0.2}, "set depth to 3"),
    ],
)
def test_a_wrong_model_is_one_sentence(name: str, config: dict, words: str) -> None:
    with pytest.raises(LabError, match=words):
        build_model(name, config)


@pytest.mark.parametrize(
    ("name", "plain", "changes"),
    [
        ("simple_cnn", {}, {"dropout": 0.5, "spatial_dropout": 0.2}),
        ("fast_resnet", DEEP, DROPS),
        ("resnet18", {}, DROPS),
    ],
)
def test_what_drops_in_training_changes_no_weight_and_no_evaluation(name: str, plain: dict, changes: dict) -> None:
    models = []
    for config in (plain, plain | changes):
        torch.manual_seed(3)
        models.append(build_model(name, config))
    first, second = (model.state_dict() for model in models)
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(models[0].eval()(images), models[1].eval()(images))
        assert not torch.equal(models[1].train()(images), models[1].train()(images))


def test_batch_norm_leaves_the_other_initial_weights_of_simple_cnn() -> None:
    states = []
    for batch_norm in (False, True):
        torch.manual_seed(3)
        states.append(build_model("simple_cnn", {"batch_norm": batch_norm}).state_dict())
    assert set(states[0]) == {name for name in states[1] if not name.startswith("norm")}
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_resnet18_is_torchvisions_but_for_its_stem() -> None:
    import torchvision

    torch.manual_seed(3)
    ours = build_model("resnet18", {})
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(weights=None, num_classes=10)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    images = torch.randn(3, 3, 32, 32)
    for mode in (True, False):
        assert torch.equal(ours.train(mode)(images), theirs.train(mode)(images))


@pytest.mark.parametrize(("name", "plain", "count"), [("fast_resnet", DEEP, 3), ("resnet18", {}, 8)])
def test_survival_falls_linearly_with_depth(name: str, plain: dict, count: int) -> None:
    model = build_model(name, plain | {"stochastic_depth": 0.4})
    found = [module.p for module in model.modules() if isinstance(module, StochasticDepth)]
    assert found == pytest.approx([0.4 * number / count for number in range(1, count + 1)])


def test_a_dropped_branch_leaves_its_input_and_a_kept_one_counts_more() -> None:
    """One block of fast_resnet by hand, image by image."""
    torch.manual_seed(0)
    block = build_model("fast_resnet", DEEP | {"stochastic_depth": 0.5}).blocks[2].train()
    block.norm.eval(), block.body.eval()  # so that a row does not depend on the others
    images = torch.randn(32, 24, 8, 8)
    with torch.no_grad():
        before = block.act(block.norm(block.pool(block.conv(images))))
        dropped, kept = block.act_out(before), block.act_out(before + block.body(before) / 0.5)
        rows = [
            (torch.allclose(row, a, atol=1e-6), torch.allclose(row, b, atol=1e-6))
            for row, a, b in zip(block(images), dropped, kept, strict=True)
        ]
    assert {(True, False), (False, True)} == set(rows)


def test_spatial_dropout_drops_whole_channels() -> None:
    for name, config in (("simple_cnn", {}), ("fast_resnet", {}), ("resnet18", {})):
        model = build_model(name, config | {"spatial_dropout": 0.4}).train()
        seen: list[torch.Tensor] = []
        for module in model.modules():
            if isinstance(module, nn.Dropout2d):
                module.register_forward_hook(
                    partial(lambda seen, _, inputs, output: seen.extend([inputs[0], output]), seen)
                )
        model(torch.randn(8, 3, 32, 32))
        assert len(seen) == {"simple_cnn": 4, "fast_resnet": 6, "resnet18": 8}[name]
        for before, after in zip(seen[::2], seen[1::2], strict=True):
            gone = (after == 0).all(dim=(2, 3)) & (before != 0).any(dim=(2, 3))  # (N, C)
            assert 0 < gone.float().mean() < 1
            assert torch.allclose(after[~gone], before[~gone] / 0.6)


def test_test_time_augmentation_is_the_stated_mean() -> None:
    model = build_model("simple_cnn", {}).eval()
    images = torch.randn(3, 3, 32, 32)

    def both_sides(batch: torch.Tensor) -> torch.Tensor:
        return (model(batch) + model(batch.flip(-1))) / 2

    with torch.no_grad():
        assert torch.equal(tta_logits(model, images, "none"), model(images))
        assert torch.allclose(tta_logits(model, images, "flip"), both_sides(images), atol=1e-6)
        # One pixel up-left: row and column 0 are the mirror image of row and column 1; down-right likewise.
        up = torch.cat([images[:, :, 1:2], images[:, :, :-1]], dim=2)
        up = torch.cat([up[..., 1:2], up[..., :-1]], dim=3)
        down = torch.cat([images[:, :, 1:], images[:, :, -2:-1]], dim=2)
        down = torch.cat([down[..., 1:], down[..., -2:-1]], dim=3)
        expected = 0.5 * both_sides(images) + 0.25 * both_sides(up) + 0.25 * both_sides(down)
        assert torch.allclose(tta_logits(model, images, "flip+shift"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("simple_cnn", {"classes": 4, "widths": (8, 8)}),
        ("fast_resnet", {"classes": 4, "widths": (8, 8, 8), "depth": 3}),
        ("fast_resnet", {"classes": 4, "widths": (8, 8, 8), "changed_layers": {"blocks.0.norm": {"removed": True}}}),
    ],
)
def test_a_direct_deeplift_call_adds_up(name: str, config: dict[str, Any]) -> None:
    """Captum 0.9 misses the sum where one hooked layer hands its very output to the next: see core.models.hook_safety."""
    from captum.attr import DeepLift

    torch.manual_seed(0)
    model = build_model(name, config).eval()
    if isinstance(getattr(model, "whiten", None), torch.nn.Conv2d):
        model.initialise_from_data(torch.randn(64, 3, 32, 32))
    inputs, baseline = torch.randn(2, 3, 32, 32)[:1].requires_grad_(), torch.randn(1, 3, 32, 32)
    found = DeepLift(model).attribute(inputs, baseline, target=2)
    rise = (model(inputs) - model(baseline))[0, 2]
    assert float(found.sum().detach()) == pytest.approx(float(rise.detach()), rel=1e-3, abs=1e-5)
