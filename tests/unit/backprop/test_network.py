"""Gradients through checkpoints and deep networks, against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.backprop.depth import ACTIVATIONS, BATCH, WIDTH, depth_flow, random_weights
from core.backprop.network import _layer, trace, weight_gradient, weight_layers
from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.inference.images import normalise
from core.models import clone_model
from tests.unit.convolution.networks import checkpoint as network

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(find_checkpoint("simple_cnn"))


@pytest.mark.parametrize("layer", ["conv1", "conv2", "head"])
def test_the_gradient_of_a_weight_is_the_sum_of_its_terms(checkpoint: Checkpoint, layer: str) -> None:
    found = weight_gradient(checkpoint, PIXELS, layer, target=3)
    assert found.gradient == pytest.approx(found.autograd, rel=1e-11)
    assert found.gradient == pytest.approx(found.difference, rel=1e-4)
    first = tuple(0 for _ in weight_layers(checkpoint)[layer])
    assert weight_gradient(checkpoint, PIXELS, layer, first, 3).gradient == pytest.approx(
        weight_gradient(checkpoint, PIXELS, layer, first, 3).autograd, rel=1e-9, abs=1e-15
    )
    assert abs(found.gradient) >= abs(weight_gradient(checkpoint, PIXELS, layer, first, 3).gradient)


def test_strides_paddings_dilations_and_groups(checkpoint: Checkpoint) -> None:
    from core.backprop.network import _terms

    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2).double()
    x = torch.randn(1, 4, 9, 8, dtype=torch.float64)
    output = conv(x)
    delta = torch.randn_like(output)
    output.backward(delta)
    assert conv.weight.grad is not None
    for index in [(0, 0, 0, 0), (5, 1, 2, 1), (2, 1, 1, 0), (3, 0, 0, 1)]:
        above, local = _terms(conv, x, delta, index)
        assert (above * local).sum() == pytest.approx(float(conv.weight.grad[index]), rel=1e-11)


def test_norms_and_dead_units_of_layers(checkpoint: Checkpoint) -> None:
    flow = trace(checkpoint, PIXELS)
    image = normalise(torch.from_numpy(PIXELS[None].copy()), checkpoint.card).double().requires_grad_(True)
    model = clone_model(checkpoint.model).double()
    hidden = model.get_submodule("relu1")(model.get_submodule("conv1")(image))
    logits = model(image)
    torch.nn.functional.cross_entropy(logits, logits.argmax(1)).backward()
    by_name = {layer.name: layer for layer in flow.layers}
    assert image.grad is not None
    assert by_name["image"].gradient_norm == pytest.approx(float(image.grad.norm()), rel=1e-9)
    assert by_name["relu1"].dead == pytest.approx(float((hidden <= 0).double().mean()))
    assert flow.target == int(logits.argmax())
    assert sum(flow.probabilities) == pytest.approx(1)
    assert next(checkpoint.model.parameters()).grad is None


def test_a_relu6_blocks_at_both_ends() -> None:
    values = torch.tensor([[-1.0, 0, 3, 6, 7, 5.9]], requires_grad=True)
    output = torch.nn.functional.relu6(values)
    output.retain_grad()
    output.sum().backward()
    assert values.grad is not None
    assert _layer("act", "ReLU6", output).dead == float((values.grad == 0).double().mean()) == 4 / 6


@pytest.mark.parametrize(
    ("layer", "index", "target"),
    [("pool1", None, None), ("conv1", (0, 0, 3, 0), None), ("head", (0,), None), ("head", None, 10)],
)
def test_what_is_not_there_is_one_sentence(
    checkpoint: Checkpoint, layer: str, index: tuple[int, ...] | None, target: int | None
) -> None:
    with pytest.raises(LabError):
        weight_gradient(checkpoint, PIXELS, layer, index, target)


@pytest.mark.parametrize(
    ("name", "config", "skipped"),
    [
        ("simple_cnn", {}, []),
        ("fast_resnet", {"widths": (8, 8, 8), "depth": 3}, [f"blocks.{n}.body.0" for n in range(3)]),
        ("fast_resnet", {"widths": (8, 8, 8)}, []),
        ("resnet18", {}, [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3, 4) for block in (0, 1)]),
    ],
)
def test_layers_that_a_skip_connection_leads_around(name: str, config: dict[str, object], skipped: list[str]) -> None:
    flow = trace(network(name, **config), PIXELS)
    assert [layer.name for layer in flow.layers if layer.skipped] == skipped


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_deep_network_has_autograds_gradients(activation: str) -> None:
    depth, gain, seed = 5, 1.3, 2
    random = np.random.default_rng((seed, 1))
    given, above = (torch.from_numpy(each) for each in random.standard_normal((2, BATCH, WIDTH)))
    x = given.requires_grad_(True)
    layers = [x]
    for weight in random_weights(depth, gain, seed):
        z = layers[-1] @ torch.from_numpy(weight).T
        layers.append(z if activation == "linear" else getattr(torch, activation)(z))
        layers[-1].retain_grad()
    layers[-1].backward(above)
    wanted = [float(each.grad.square().mean().sqrt() / above.square().mean().sqrt()) for each in layers]  # type: ignore[union-attr]
    assert depth_flow(depth, activation, gain, seed).gradient_rms == pytest.approx(wanted, rel=1e-10)


def test_he_keeps_the_gradient_where_glorot_loses_it() -> None:
    for seed in range(3):
        assert 0.1 < depth_flow(30, "relu", 2**0.5, seed).share < 10
        assert depth_flow(30, "relu", 1.0, seed).share < 1e-3 < 1e3 < depth_flow(30, "relu", 2.0, seed).share
