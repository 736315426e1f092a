"""Attribution methods: equal to Captum's own, right on a network whose answer is known, and refused where they would lie."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum import attr
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn

from core.attribution.evidence.controls import control_maps
from core.attribution.explainer import Explainer
from core.attribution.method import AttributionRequest
from core.attribution.methods.registry import ATTENTION, METHODS, QUICK, SLOW, get_method
from core.attribution.methods.superpixels import segments
from core.attribution.networks import unseen_operations
from core.common.errors import LabError
from tests.unit.attribution.planted import (
    DATA,
    NOTHING,
    TARGET,
    hooks,
    inside,
    network,
    normalised,
    planted,
    random_image,
    small,
)

pytestmark = pytest.mark.filterwarnings("ignore:Setting:UserWarning")
PIXELS = DATA.test.images[0]
ON_CONVOLUTIONS = (*QUICK, *SLOW)
FEW: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 30, "max_gap": 1},
    "smoothgrad": {"samples": 30},
    "gradient_shap": {"samples": 6},
    "occlusion": {"window": 8, "stride": 4},
    "feature_ablation": {"cells": 16},
    "kernel_shap": {"cells": 16, "samples": 60},
    "lime": {"cells": 16, "samples": 60},
}
"""Settings that keep these tests short."""


class _Copy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def _deeplift(model: Any, inputs: Tensor, base: Tensor) -> Tensor:
    """Of a chain in which no two layers that Captum hooks share a tensor."""
    apart = nn.Sequential(
        *(model.conv1, model.relu1, _Copy(), model.pool1, model.conv2, model.relu2, _Copy(), model.pool2),
        *(model.flatten, model.head),
    )
    return attr.DeepLift(apart).attribute(inputs, baselines=base, target=2)


def _lrp(model: Any, inputs: Tensor, base: Tensor) -> Tensor:
    """Of a chain of the layers that do something, and so have a rule in Captum."""
    model.flatten.rule = EpsilonRule()
    chain = nn.Sequential(
        *(model.conv1, model.relu1, model.pool1, model.conv2, model.relu2, model.pool2, model.flatten, model.head)
    )
    return attr.LRP(chain).attribute(inputs, target=2)


def _pieces(inputs: Tensor) -> Tensor:
    return segments(inputs, "slic", 16)


DIRECT: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "saliency": lambda model, x, base: attr.Saliency(model).attribute(x, target=2),
    "input_x_gradient": lambda model, x, base: attr.InputXGradient(model).attribute(x, target=2),
    "deeplift": _deeplift,
    "guided_backprop": lambda model, x, base: attr.GuidedBackprop(model).attribute(x, target=2),
    "grad_cam": lambda model, x, base: F.interpolate(
        attr.LayerGradCam(model, model.conv2).attribute(x, target=2, relu_attributions=True), (32, 32)
    ).repeat(1, 3, 1, 1),
    "guided_grad_cam": lambda model, x, base: attr.GuidedGradCam(model, model.conv2).attribute(x, target=2),
    "lrp": _lrp,
    "integrated_gradients": lambda model, x, base: attr.IntegratedGradients(model).attribute(
        x, baselines=base, target=2, n_steps=30, internal_batch_size=25
    ),
    "smoothgrad": lambda model, x, base: attr.NoiseTunnel(attr.Saliency(model)).attribute(
        x,
        nt_type="smoothgrad",
        nt_samples=30,
        nt_samples_batch_size=25,
        stdevs=0.15 * float((x.max() - x.min()).detach()),
        target=2,
    ),
    "gradient_shap": lambda model, x, base: attr.GradientShap(model).attribute(
        x, baselines=base, target=2, n_samples=6, stdevs=0.1
    ),
    "occlusion": lambda model, x, base: attr.Occlusion(model).attribute(
        x,
        sliding_window_shapes=(3, 8, 8),
        strides=(3, 4, 4),
        baselines=base,
        target=2,
        perturbations_per_eval=25,
    ),
    "feature_ablation": lambda model, x, base: attr.FeatureAblation(model).attribute(
        x, baselines=base, target=2, feature_mask=_pieces(x), perturbations_per_eval=25
    ),
    "kernel_shap": lambda model, x, base: attr.KernelShap(model).attribute(
        x, baselines=base, target=2, feature_mask=_pieces(x), n_samples=60, perturbations_per_eval=25
    ),
    "lime": lambda model, x, base: attr.Lime(model).attribute(
        x, baselines=base, target=2, feature_mask=_pieces(x), n_samples=60, perturbations_per_eval=25
    ),
}


@pytest.mark.parametrize("name", ON_CONVOLUTIONS)
def test_it_equals_a_direct_call_of_captum_and_leaves_the_network_alone(name: str) -> None:
    checkpoint = small()
    before, names = copy.deepcopy(checkpoint.model.state_dict()), [set(vars(m)) for m in checkpoint.model.modules()]
    hooked, explainer = hooks(checkpoint.model), Explainer(checkpoint)
    found = explainer.attribute(get_method(name, FEW.get(name)), PIXELS, 2, baseline="noise", seed=5)
    base = explainer.baseline("noise", PIXELS, 5)
    np.random.seed(5)
    torch.manual_seed(5)
    inputs = normalised(PIXELS, checkpoint.card).requires_grad_()
    direct = DIRECT[name](copy.deepcopy(checkpoint.model), inputs, base).detach().numpy()[0]
    assert np.abs(direct).max() > 0
    np.testing.assert_allclose(found.values, direct, rtol=1e-5, atol=1e-5 * np.abs(direct).max())
    assert found.values.shape == (3, 32, 32)
    assert found.values.dtype == np.float32
    if not found.method.signed:
        assert found.values.min() >= 0
    if not found.method.channels:
        assert (found.values == found.values[0]).all()

    for key, value in checkpoint.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert [set(vars(module)) for module in checkpoint.model.modules()] == names
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in checkpoint.model.parameters())
    assert hooks(checkpoint.model) == hooks(explainer._model) == hooked


@pytest.mark.parametrize("name", ON_CONVOLUTIONS)
def test_a_map_is_where_the_answer_comes_from(name: str) -> None:
    pixels = random_image()
    explainer = Explainer(planted())
    allowed = inside()
    if name == "occlusion":  # windows that touch the patch reach 2 pixels beyond it
        allowed[6:18, 18:30] = True
    for settings in [{"superpixels": "grid"}, {}] if name in ("feature_ablation", "kernel_shap", "lime") else [{}]:
        found = explainer.attribute(get_method(name, settings), pixels, TARGET)
        values = np.abs(found.pixels).astype(np.float64)
        if name in ("feature_ablation", "kernel_shap", "lime") and not settings:
            pieces = segments(explainer.inputs(pixels), "slic", 64)[0, 0].numpy()
            allowed = np.isin(pieces, pieces[inside()])
            # A piece may cut a cell, and then no straight line is exact: 400 samples leave noise.
            least = {"feature_ablation": 0.9999, "kernel_shap": 0.75, "lime": 0.99}[name]
        else:
            least = 0.99
        assert allowed.mean() < 0.15
        assert values[allowed].sum() / values.sum() > least
        assert found.pixels[inside()].mean() > 0


def test_the_controls_are_not() -> None:
    for name, values in control_maps(random_image()).items():
        assert values[inside()].sum() / values.sum() < 0.2, name


@pytest.mark.parametrize("name", ON_CONVOLUTIONS)
def test_of_a_class_that_depends_on_nothing_the_map_is_blank(name: str) -> None:
    assert Explainer(planted()).attribute(get_method(name, FEW.get(name)), random_image(), NOTHING).blank


@pytest.mark.parametrize("name", METHODS)
def test_the_cost_told_is_the_number_of_images_that_pass_the_network(name: str) -> None:
    """A grid, because SLIC makes about as many pieces as it is told to."""
    grid = {"superpixels": "grid"} if name in ("feature_ablation", "kernel_shap", "lime") else {}
    method = get_method(name, FEW.get(name, {}) | grid)
    model, layer = copy.deepcopy(small().model), "conv2"
    if name in ATTENTION:
        model, layer = copy.deepcopy(small("compact_transformer", width=8).model), "norm"
    passed = {"forward": 0, "backward": 0}

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        passed["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda gradient: passed.update(backward=passed["backward"] + len(gradient)))

    # LRP works on a copy of what it gets, which takes the hook along.
    model.get_submodule(layer).register_forward_hook(count)
    shares: list[float] = []
    inputs = normalised(PIXELS, small().card)
    method.attribute(
        model,
        AttributionRequest(
            inputs=inputs.requires_grad_(),
            target=1,
            baseline=torch.zeros(1, 3, 32, 32),
            seed=0,
            on_progress=shares.append,
        ),
    )
    assert (passed["forward"], passed["backward"]) == method.passes(32)
    assert shares == sorted(shares)
    assert not shares or shares[-1] == 1.0
    assert bool(shares) == (name in SLOW)


def test_grad_cam_invents_no_detail() -> None:
    checkpoint = small()
    found = Explainer(checkpoint).attribute(get_method("grad_cam", {"layer": "conv2"}), PIXELS, 1).pixels
    cam = attr.LayerGradCam(checkpoint.model, checkpoint.model.get_submodule("conv2")).attribute(
        normalised(PIXELS, checkpoint.card).requires_grad_(), target=1, relu_attributions=True
    )
    cells = cam.detach().numpy()[0, 0]
    assert cells.shape == (13, 13)
    assert len(np.unique(cells)) > 20
    place = np.arange(32) * 13 // 32
    np.testing.assert_allclose(found, cells[np.ix_(place, place)], rtol=1e-6)
    other = Explainer(checkpoint).attribute(get_method("grad_cam", {"layer": "conv1"}), PIXELS, 1).pixels
    assert not np.allclose(other, found)


def _flat() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))


GELU = {"activation": "gelu"}
REFUSED = [
    *((name, "fast_resnet", GELU, "GELU") for name in ("deeplift", "guided_backprop", "guided_grad_cam", "lrp")),
    ("lrp", "fast_resnet", {"depth": 3}, "residual"),
    ("lrp", "resnet18", {}, "residual"),
    *((name, "efficientnet_lite0", {}, "ReLU6") for name in ("deeplift", "guided_backprop", "guided_grad_cam", "lrp")),
    ("grad_cam", "flat", {}, "none"),
    ("guided_grad_cam", "flat", {}, "none"),
    ("guided_backprop", "flat", {}, "none"),
]


@pytest.mark.parametrize(("name", "model", "config", "word"), REFUSED)
def test_what_would_lie_is_refused_in_one_sentence(name: str, model: str, config: dict[str, Any], word: str) -> None:
    explainer = Explainer(network(_flat()) if model == "flat" else small(model, **config))
    method = get_method(name)
    sentence = explainer.refusal(method)
    assert sentence
    assert sentence.startswith(method.title)
    assert word in sentence
    assert sentence.endswith(".")
    assert ". " not in sentence
    with pytest.raises(LabError) as told:
        explainer.attribute(method, PIXELS, 0)
    assert str(told.value) == sentence


@pytest.mark.parametrize(
    ("model", "config"),
    [("fast_resnet", GELU), ("fast_resnet", {"depth": 3}), ("resnet18", {}), ("efficientnet_lite0", {})],
)
def test_what_would_not_is_not(model: str, config: dict[str, Any]) -> None:
    explainer = Explainer(small(model, **config))
    refused = {name for name in METHODS if explainer.refusal(get_method(name))}
    assert refused == {*ATTENTION, *(name for name, of, settings, _ in REFUSED if (of, settings) == (model, config))}


def test_a_layer_of_which_only_a_kind_is_known_is_refused() -> None:
    """Captum looks a layer up by its very type, and takes what it does not find for a straight line."""

    class Mine(nn.ReLU):
        pass

    checkpoint = small()
    checkpoint.model.relu1 = Mine()
    explainer = Explainer(checkpoint)
    for name in ("deeplift", "lrp"):
        assert "Mine" in str(explainer.refusal(get_method(name)))


class _Outside(nn.Module):
    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.head, self.operation = nn.Conv2d(3, 4, 3), nn.Linear(4, 2), operation

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.operation(self.first(x)), 1))


@pytest.mark.parametrize(
    ("operation", "found"),
    [
        (lambda x: x, ""),
        (lambda x: x.view(x.size(0), -1), ""),
        (lambda x: F.relu(x), "relu"),
        (lambda x: x.tanh(), "tanh"),
        (lambda x: x + x.abs(), "abs, add"),
        (lambda x: x if x.sum() > 0 else -x, "which could not be listed"),
    ],
)
def test_operations_outside_of_layers_are_listed(operation: Callable[[Tensor], Tensor], found: str) -> None:
    assert unseen_operations(_Outside(operation)) == found


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("guess", {}, "saliency, input_x_gradient"),
        ("saliency", {"steps": 3}, "no setting named steps: it knows none"),
        ("integrated_gradients", {"steps": 1}, "from 2 to 2,000"),
        ("integrated_gradients", {"steps": 2.5}, "whole number"),
        ("smoothgrad", {"noise": 0}, "0.001 to 2"),
        ("smoothgrad", {"noise": float("nan")}, "0.001 to 2"),
        ("occlusion", {"window": 3, "stride": 4}, "from 1 to 3"),
        ("feature_ablation", {"superpixels": "hexagons"}, "slic, grid"),
        ("lime", {"cells": 1}, "from 4"),
    ],
)
def test_a_method_or_setting_that_there_is_not_is_one_sentence(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=words):
        get_method(name, settings)


@pytest.mark.parametrize("layer", ["head", "conv9", 5, ["conv1"]])
@pytest.mark.parametrize("name", ["grad_cam", "guided_grad_cam"])
def test_a_layer_that_is_no_convolution_is_one_sentence(name: str, layer: Any) -> None:
    with pytest.raises(LabError, match="choose one of conv1, conv2"):
        Explainer(small()).attribute(get_method(name, {"layer": layer}), PIXELS, 0)


def test_a_window_wider_than_the_image_is_one_sentence() -> None:
    with pytest.raises(LabError, match="32 pixels wide"):
        Explainer(small()).attribute(get_method("occlusion", {"window": 33}), PIXELS, 0)


def test_all_methods_tell_what_a_reader_must_know() -> None:
    assert {*QUICK, *ATTENTION, *SLOW} == set(METHODS)
    assert len(METHODS) == 16
    for name, kind in METHODS.items():
        method = get_method(name)
        assert method.name == name
        assert get_method(name, method.settings()) == method
        for sentence in (kind.summary, kind.how_to_read, kind.caveat):
            assert sentence[0].isupper()
            assert sentence[-1] == "."
        assert kind.paper[1].startswith("https://")
        assert kind.quick == (method.passes(32)[0] <= 2)


def test_pieces_cover_the_image_and_follow_its_colours() -> None:
    inputs = normalised(random_image())
    for how in ("slic", "grid"):
        found = segments(inputs, how, 64).numpy()[0, 0]
        assert found.shape == (32, 32)
        assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
        assert 48 <= found.max() + 1 <= 64
    assert np.array_equal(found, (np.arange(32) // 4)[:, None] * 8 + np.arange(32) // 4)
    halves = np.zeros((32, 32, 3), dtype=np.uint8)
    halves[:, 13:] = 255
    cut = segments(normalised(halves), "slic", 16).numpy()[0, 0]
    assert not set(np.unique(cut[:, :13])) & set(np.unique(cut[:, 13:]))


def test_noise_is_cut_into_pieces_too_and_what_cannot_be_is_one_sentence() -> None:
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        assert segments(normalised(noise), "slic", 64).max() >= 55
        assert segments(normalised(noise), "slic", 4).max() == 3
    board = np.indices((32, 32)).sum(0)[..., None].repeat(3, 2) % 2 * 255
    with pytest.raises(LabError, match="set superpixels to grid"):
        Explainer(planted()).attribute(get_method("kernel_shap", {"cells": 16}), board.astype(np.uint8), TARGET)
