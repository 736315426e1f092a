"""Saliency maps: equal to Captum's own, zero where the answer does not depend on a pixel, and drawn as pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import nn

from core.checkpoints import Card, Checkpoint
from core.errors import LabError
from core.explanation.saliency import saliency
from core.inference import normalise
from core.models import build_model
from core.plots.heatmaps import heatmap, rank_correlation
from tests.unit.synthetic import synthetic

DATA = synthetic(held_out=20)


@pytest.fixture(scope="module")
def small() -> Checkpoint:
    torch.manual_seed(0)
    model = build_model("simple_cnn", {"classes": 4, "widths": (8, 8)}).eval().requires_grad_(False)
    return Checkpoint("small", Card(title="Small", model="simple_cnn", model_config={}, dataset=DATA.card), model)


def test_it_equals_a_direct_call_and_leaves_the_network_alone(small: Checkpoint) -> None:
    pixels = DATA.test.images[0]
    found = saliency(small, pixels, 2)
    inputs = normalise(torch.from_numpy(pixels[None].copy()), small.card).requires_grad_()
    direct = Saliency(small.model).attribute(inputs, target=2).detach().numpy()[0].max(0)
    np.testing.assert_allclose(found, direct, rtol=1e-6)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() > 0
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in small.model.parameters())


class _Corner(nn.Module):
    """Its answer depends on the left upper 4x4 pixels alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, :4, :4].flatten(1).sum(1, keepdim=True) * torch.arange(1.0, 5.0)


def test_all_of_it_is_where_the_answer_comes_from(small: Checkpoint) -> None:
    found = saliency(dataclasses.replace(small, model=_Corner()), DATA.test.images[1], 3)
    inside = np.zeros_like(found, dtype=bool)
    inside[:4, :4] = True
    assert (found[inside] > 0).all()
    assert not found[~inside].any()


@pytest.mark.parametrize(("pixels", "target"), [(np.zeros((8, 8, 3), np.uint8), 0), (DATA.test.images[0], 4)])
def test_what_is_none_is_one_sentence(small: Checkpoint, pixels: np.ndarray, target: int) -> None:
    with pytest.raises(LabError):
        saliency(small, pixels, target)


@pytest.mark.parametrize("dark", [False, True])
def test_one_bright_pixel_does_not_pale_the_others(dark: bool) -> None:
    values = np.full((32, 32), 0.5)
    values[3, 4] = 1000.0
    drawn = heatmap(values, dark=dark).data[0]
    assert drawn.zmax == 0.5
    assert np.asarray(drawn.z).shape == (32, 32)
    assert heatmap(np.zeros((4, 4)), dark=dark).data[0].zmax == 1.0


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 9, (2, 12, 12)).astype(float)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)
    assert rank_correlation(one, one**3) == pytest.approx(1.0)
    assert rank_correlation(one, np.ones((12, 12))) == 0.0
