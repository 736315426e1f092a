"""Through a network: receptive fields against gradients, maps and terms against PyTorch, exciting images by brute force."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.common.errors import LabError
from core.convolution.layers import activations, convolution_sums, layers_of, most_exciting, pytorch_output
from core.inference.images import normalise
from core.models import LAYERS, build_model
from core.models.receptive_field import spans
from tests.unit.convolution.networks import PIXELS, checkpoint


def positive(model: nn.Module) -> nn.Module:
    """The same network with nothing that could cancel or hide an influence: means in place of sums and maxima."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d):
            module.weight.fill_(1 / module.weight[0].numel())
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.MaxPool2d):
            model.set_submodule(name, nn.AvgPool2d(module.kernel_size, module.stride, module.padding))
        elif isinstance(module, nn.BatchNorm2d | nn.ReLU | nn.ReLU6):
            model.set_submodule(name, nn.Identity())
    return model.double()


NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("simple_cnn", {}),
    ("simple_cnn", {LAYERS: {"pool1": {"pooling": "blur"}, "pool2": {"pooling": "stride"}}}),
    ("fast_resnet", {"widths": (4, 5, 6)}),
    ("fast_resnet", {"widths": (4, 5, 6), "depth": 3}),
    ("resnet18", {}),
    ("compact_transformer", {}),
    ("efficientnet_lite0", {"image_size": 24, "upscale_to": 64}),
]


@pytest.mark.parametrize(("name", "config"), NETWORKS)
def test_receptive_fields_are_where_gradients_are(name: str, config: dict[str, Any]) -> None:
    side = config.get("image_size", 32)
    model = build_model(name, config).eval().requires_grad_(False)
    found = spans(model, side)
    outputs: dict[str, torch.Tensor] = {}
    model = positive(model)
    for layer, module in model.named_modules():
        if layer in found:
            module.register_forward_hook(lambda module, args, output, layer=layer: outputs.__setitem__(layer, output))
    x = torch.zeros(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    model(x)
    maps = [
        layer
        for layer, output in outputs.items()
        if output.ndim == 4 and isinstance(model.get_submodule(layer), nn.Conv2d | nn.AvgPool2d | nn.Upsample)
    ]
    assert maps
    for layer in maps[:: max(1, len(maps) // 4)] + maps[-1:]:
        units = outputs[layer].shape[2]
        for unit in {0, units // 2, units - 1}:
            (gradient,) = torch.autograd.grad(outputs[layer][0, 0, unit, unit], x, retain_graph=True)
            places = gradient[0].abs().sum(0).nonzero()
            seen = (int(places.min()), int(places.max()))
            assert found[layer].pixels(unit, side) == seen, (layer, unit)
    for span in found.values():
        if span.rule:
            before, d, k, _, jump = map(float, re.findall(r"[\d.]+", span.rule))
            assert span.size == before + d * (k - 1) * jump, span


def test_maps_are_what_the_layer_gives() -> None:
    made = checkpoint()
    x = normalise(torch.from_numpy(PIXELS[:2]), made.card)
    expected = made.model.relu1(made.model.conv1(x)).numpy()
    np.testing.assert_array_equal(activations(made, "relu1", PIXELS[:2]), expected)
    layers = {layer.name: layer for layer in layers_of(made)}
    assert layers["relu1"].shape == expected.shape[1:]
    assert list(layers) == ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2"]
    for bad in ("head", "conv9", ""):
        with pytest.raises(LabError, match="There is no layer"):
            activations(made, bad, PIXELS[:1])


@pytest.mark.parametrize(
    ("name", "layer"),
    [("simple_cnn", "conv2"), ("fast_resnet", "blocks.0.conv"), ("efficientnet_lite0", "blocks.1.depthwise.conv")],
)
def test_terms_of_a_trained_layer_sum_to_its_output(name: str, layer: str) -> None:
    made = checkpoint(name)
    output = activations(made, layer, PIXELS[:1])[0]
    channel = len(output) - 1
    sums = convolution_sums(made, layer, channel, PIXELS[0])
    np.testing.assert_allclose(sums.output[0], output[channel], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(pytorch_output(sums), sums.output, rtol=0, atol=1e-12)
    with pytest.raises(LabError, match="There is no channel"):
        convolution_sums(made, layer, len(output), PIXELS[0])


def test_the_most_exciting_images_are_found_by_brute_force_too() -> None:
    made = checkpoint()
    told: list[float] = []
    found = most_exciting(made, "conv2", PIXELS, lambda share, words: told.append(share))
    maps = activations(made, "conv2", PIXELS)
    for channel in (0, 63):
        tops = maps[:, channel].max((1, 2))
        assert found.images[channel].tolist() == np.argsort(-tops, kind="stable")[:8].tolist()
        best = found.images[channel, 0]
        row, column = found.units[channel, 0]
        assert maps[best, channel, row, column] == tops.max() == found.values[channel, 0]
    assert told[-1] == 1
    assert found.searched == len(PIXELS)
