"""Architectures: the published sizes, and what attribution methods need of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.errors import LabError
from core.models import MODELS, build_model
from core.models.tta import tta_logits


@pytest.mark.parametrize("name", MODELS)
def test_parameter_counts_are_as_stated(name: str) -> None:
    model = build_model(name, {})
    assert sum(parameter.numel() for parameter in model.parameters()) == MODELS[name].parameters
    if MODELS[name].task == "text":
        assert model.eval()(torch.zeros(2, 7, dtype=torch.long))[0].shape == (2, 7, 65)
    else:
        assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_simple_cnn_is_the_textbook_network() -> None:
    model = build_model("simple_cnn", {})
    assert sum(parameter.numel() for parameter in model.parameters()) == 42_442
    kinds = [type(module) for module in model.children() if not isinstance(module, nn.Identity)]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear]
    optional = build_model("simple_cnn", {"dropout": 0.3, "batch_norm": True})
    assert {type(module) for module in optional.children()} >= {nn.Dropout, nn.BatchNorm2d}


@pytest.mark.parametrize("config", [{}, {"depth": 3, "widths": [16, 24, 32]}, {"activation": "gelu"}])
def test_fast_resnet_calls_every_module_once_and_changes_nothing_in_place(config: dict) -> None:
    model = build_model("fast_resnet", config).eval()
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


def test_other_class_counts_and_picture_sizes() -> None:
    for name, side in (("simple_cnn", 28), ("fast_resnet", 64), ("resnet18", 48)):
        model = build_model(name, {"classes": 3, "image_size": side}).eval()
        assert model(torch.zeros(1, 3, side, side)).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("alexnet", {}, "simple_cnn"),
        ("simple_cnn", {"depth": 3}, "no setting named depth"),
        ("simple_cnn", {"dropout": 1.0}, "below 1"),
        ("simple_cnn", {"image_size": 4}, "at least 10"),
        ("fast_resnet", {"widths": [1]}, "three positive"),
        ("fast_resnet", {"activation": "swish"}, "relu"),
        ("fast_resnet", {"depth": 99}, "2 to 6"),
    ],
)
def test_a_wrong_model_is_one_sentence(name: str, config: dict, words: str) -> None:
    with pytest.raises(LabError, match=words):
        build_model(name, config)


def test_test_time_augmentation_is_the_stated_mean() -> None:
    model = build_model("simple_cnn", {}).eval()
    images = torch.randn(3, 3, 32, 32)

    def both_sides(pictures: torch.Tensor) -> torch.Tensor:
        return (model(pictures) + model(pictures.flip(-1))) / 2

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
