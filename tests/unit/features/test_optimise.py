"""Optimised images: the spectrum that they start from, what they find, and that a seed says all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.features.optimise import START_SD, frequencies, optimise, random_spectrum, to_rgb, waves
from core.features.units import Responses
from core.inference.images import normalise
from tests.unit.features.planted import DEAD, FIRST_COPY, LAYER, RED, planted


def test_a_random_image_has_the_stated_spectrum() -> None:
    """Amplitudes fall as 1 / frequency, so their product with the frequency is even."""
    side = 32
    images = waves(torch.stack([random_spectrum(side, seed) for seed in range(400)]), side)
    power = torch.fft.rfft2(images, norm="ortho").abs().square().mean((0, 1))
    inner = slice(1, side // 2)  # the outer columns are real numbers alone
    product = power[1:, inner] * frequencies(side)[1:, inner] ** 2
    expected = 2 * START_SD**2 / 16
    np.testing.assert_allclose(product / expected, 1, atol=0.25)
    assert float(product.mean() / expected) == pytest.approx(1, abs=0.01)


def test_colours_start_grey_and_stay_in_range() -> None:
    assert to_rgb(torch.zeros(1, 3, 2, 2)).unique().tolist() == [0.5]
    light = to_rgb(torch.tensor([9.0, 0, 0])[None, :, None, None])[0, :, 0, 0]
    assert (light > 0.9).all(), "the first direction is light"


def test_a_filter_for_red_gets_a_red_image_and_a_seed_says_all() -> None:
    made = planted()
    network, data = Responses(made.model, LAYER), made.card.image_data
    images = optimise(network, data, [RED, RED, FIRST_COPY], [0, 1, 0], steps=96)
    red, green, blue = images[0].reshape(-1, 3).mean(0)
    assert red > 1.4 * max(green, blue)
    found = network(normalise(torch.from_numpy(images), made.card))
    assert float(found[0, RED]) > 0.8 * float(found[1, RED]) > 0
    again = optimise(network, data, [RED, RED, FIRST_COPY], [0, 1, 0], steps=96)
    np.testing.assert_array_equal(images, again)
    assert (images[0] != images[1]).any()


def test_a_silent_relu_is_climbed_from_below() -> None:
    """Its own gradient is 0 everywhere at first: what it is given shows the way."""
    made = planted()
    made.model.conv1.weight[DEAD] = made.model.conv1.weight[RED]
    images = optimise(Responses(made.model, LAYER), made.card.image_data, [DEAD], [0], steps=48)
    assert float(Responses(made.model, LAYER)(normalise(torch.from_numpy(images), made.card))[0, DEAD]) > 0


def test_a_gelu_is_climbed_from_below_0() -> None:
    """Far below 0 its gradient leads down to where it hands nothing on, and is as good as 0."""
    made = planted()
    made.model.relu1 = torch.nn.GELU()
    made.model.conv1.weight[DEAD], made.model.conv1.bias[DEAD] = made.model.conv1.weight[RED], -3.0
    images = optimise(Responses(made.model, LAYER), made.card.image_data, [DEAD], [0], steps=96)
    assert float(Responses(made.model, LAYER)(normalise(torch.from_numpy(images), made.card))[0, DEAD]) > 0


def test_only_an_activation_is_climbed_by_what_it_is_given() -> None:
    """What a convolution of as many channels is given are other channels."""
    made = planted()
    assert Responses(made.model, LAYER).activation
    network = Responses(made.model, "conv2")
    after, before = network.maps(torch.zeros(1, 3, 32, 32))
    assert made.model.conv2.in_channels == made.model.conv2.out_channels
    assert after is before


def test_diverse_images_differ_more() -> None:
    made = planted()
    network, data = Responses(made.model, "relu2"), made.card.image_data

    def spread(diverse: bool) -> float:
        images = optimise(network, data, [5] * 3, [0, 1, 2], steps=32, diverse=diverse)
        maps = network.maps(normalise(torch.from_numpy(images), made.card))[0]
        gram = torch.nn.functional.normalize(torch.bmm(maps, maps.transpose(1, 2)).flatten(1), dim=1)
        return float((gram @ gram.T).triu(1).sum())

    assert spread(True) < spread(False)
