"""Training with 8-bit rounding: the grids, the gradients that pass, and the ranges that only training moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from core.checkpoints.store import Checkpoint
from core.compression.methods.finetune import FineTuneSession
from core.compression.methods.quant_aware import fake_quantize_inputs, fake_quantize_weights
from core.compression.steps import TrainQuantized
from core.training.config import TrainConfig
from core.training.results import Finished
from core.training.session import TrainSession
from core.training.trainer import evaluate, train
from tests.unit.compression.trainable import IMAGES


def network() -> Checkpoint:
    """A small network after a little training."""
    settings = {"widths": [6, 8], "batch_norm": True}
    config = TrainConfig(model="simple_cnn", model_config=settings, epochs=1, batch_size=24, lr=3e-3, crop_padding=2)
    session = TrainSession.start(config, IMAGES, "cpu")
    list(train(session))
    return Checkpoint("original", session.card("Original"), session.eval_model().requires_grad_(False))


def test_weights_are_rounded_to_255_values_for_each_output() -> None:
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [1e-3, 1, 5, 1, 1.0]
    ).view(-1, 1, 1, 1)
    weight[3] = 0.0
    weight.requires_grad_()
    found = fake_quantize_weights(weight)
    for row, (rounded, given) in enumerate(zip(found.detach(), weight.detach(), strict=True)):
        scale = float(given.abs().max()) / 127
        if row == 3:
            assert not rounded.any()
            continue
        levels = rounded / scale
        assert torch.allclose(levels, levels.round(), atol=1e-3)
        assert levels.round().abs().max() == 127
        assert (rounded - given).abs().max() <= scale / 2 * 1.001
        assert torch.equal(rounded.abs().argmax(), given.abs().argmax())
    many = fake_quantize_weights(torch.linspace(-1, 1, 10_000)[None])
    assert len(many.unique()) == 255
    (found * 3).sum().backward()
    assert torch.equal(weight.grad, torch.full_like(weight, 3.0)), "straight through"


def test_inputs_are_rounded_to_256_values_with_zero_among_them() -> None:
    x = torch.linspace(-3, 7, 5001, requires_grad=True)
    found = fake_quantize_inputs(x, torch.tensor([-2.0, 6.0]))
    assert len(found.unique()) == 256
    assert 0.0 in found
    assert (found.min().item(), found.max().item()) == pytest.approx((-2, 6), abs=0.02)
    inside = (x > -1.97) & (x < 5.97)
    assert (found - x)[inside].abs().max() <= 8 / 255 / 2 * 1.001
    found.sum().backward()
    assert x.grad is not None
    assert (x.grad[inside] == 1).all()
    assert (x.grad[(x < -2.1) | (x > 6.1)] == 0).all()
    assert not fake_quantize_inputs(torch.zeros(4), torch.zeros(2)).any()


def test_training_with_rounding_changes_no_name_and_evaluating_moves_no_range() -> None:
    original = network()
    session = FineTuneSession(original, TrainQuantized(epochs=3.0, lr=0.02), IMAGES, device="cpu")
    rounding = session.fake_quantize
    assert rounding is not None
    evaluate(session)
    assert rounding.ranges == {}, "what is evaluated before the first step sets no range"
    results = list(train(session))
    assert [name for name, _ in original.model.named_parameters()] == [n for n, _ in session.model.named_parameters()]
    assert list(session.model.state_dict()) == list(original.model.state_dict())
    assert sorted(rounding.ranges) == ["conv1", "conv2", "head"]
    before = {name: value.clone() for name, value in rounding.ranges.items()}
    evaluate(session)
    assert all(torch.equal(before[name], value) for name, value in rounding.ranges.items())
    assert (before["conv2"][0], before["conv1"][0] < 0) == (0, True)  # after a ReLU; normalised pixels
    for name, value in original.model.named_parameters():
        assert not torch.equal(session.model.get_parameter(name), value), name
    # The figures of the run are those of the rounded network; what it hands back computes as usual.
    images, _ = next(session.task.validation_data.chunks(8))
    made = session.result().model
    with torch.no_grad():
        rounded, plain = session.eval_model()(images), made(images)
    assert not torch.equal(rounded, plain)
    assert torch.allclose(rounded, plain, atol=0.3 * plain.abs().max().item())
    assert isinstance(results[-1], Finished)
    _by_hand(session, images[:1])


def _by_hand(session: FineTuneSession, image: Tensor) -> None:
    """The first layer, multiplied out in whole numbers as an int8 runtime does."""
    assert session.fake_quantize is not None
    layer = session.model.get_submodule("conv1")
    assert isinstance(layer, nn.Conv2d)
    low, high = session.fake_quantize.ranges["conv1"].tolist()
    scale = (high - low) / 255
    zero = round(-low / scale)
    given = (torch.round(image.double() / scale) + zero).clamp(0, 255) - zero
    scales = layer.weight.detach().double().flatten(1).abs().amax(1) / 127
    whole = torch.round(layer.weight.detach().double() / scales.view(-1, 1, 1, 1))
    exact = nn.functional.conv2d(given, whole) * (scale * scales).view(1, -1, 1, 1)
    assert layer.bias is not None
    with torch.no_grad():
        found = session.eval_model().get_submodule("conv1")(image)
    # A value halfway between two may go to either: a step of one input times a weight of 127.
    assert torch.allclose(
        found.double(), exact + layer.bias.detach().double().view(1, -1, 1, 1), atol=scale * float(scales.max()) * 130
    )
    assert (found.double() - exact - layer.bias.detach().double().view(1, -1, 1, 1)).abs().median() < 1e-6
