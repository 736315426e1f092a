"""Weights shuffled layer by layer: whose map changes, whose does not, and nothing but copies is touched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from core.attribution.evidence.randomisation import SAME, RandomisedLayers, cascade, randomisation_words, randomise
from core.attribution.explainer import Explainer
from core.attribution.method import AttributionRequest, Method
from core.attribution.methods.registry import get_method
from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.models import build_model
from tests.unit.builders import synthetic

DATA = synthetic(held_out=20)
PIXELS = DATA.test.images[2]
SALIENCY = get_method("saliency")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageItself(Method):
    """Shows the image, whatever the network."""

    name: ClassVar[str] = "image_itself"
    title: ClassVar[str] = "The image itself"
    signed: ClassVar[bool] = False

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        return question.inputs.detach().abs()


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted(Method):
    """The same map at every pixel but where told: a value for each network, by its head's first weight."""

    name: ClassVar[str] = "planted"
    title: ClassVar[str] = "Planted"
    signed: ClassVar[bool] = True

    maps: dict[float, Tensor]
    """First weight of the head -> (3, H, W)."""
    otherwise: Tensor

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        return self.maps.get(float(model.head.weight[0, 0]), self.otherwise)[None]


def checkpoint(**config: object) -> Checkpoint:
    torch.manual_seed(0)
    model = build_model("simple_cnn", {"classes": 4, "widths": (8, 8)} | config).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: each channel its own
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                values.uniform_(0.5, 1.5)
    return Checkpoint("small", Card(title="Small", model="simple_cnn", model_config={}, dataset=DATA.card), model)


@pytest.fixture(scope="module")
def small() -> Explainer:
    return Explainer(checkpoint())


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in model.state_dict().items()}


def test_values_trade_places_from_the_classifier_down() -> None:
    model = checkpoint(batch_norm=True).model
    original, before = state(model), state(model)
    order = []
    for layers, shuffled in cascade(model, 0):
        now = state(shuffled)
        changed = {name for name in now if not torch.equal(now[name], before[name])}
        if layers:
            norm = layers[-1].replace("conv", "norm")
            assert {name.rpartition(".")[0] for name in changed} == {layers[-1], norm} & {
                name.rpartition(".")[0] for name in now
            }
        else:
            assert not changed
        order.append(layers)
        before = now
    assert order == [(), ("head",), ("head", "conv2"), ("head", "conv2", "conv1")]
    for name, values in original.items():
        if values.ndim:
            assert not torch.equal(values, before[name])
            assert torch.equal(values.flatten().sort().values, before[name].flatten().sort().values)
    assert all(torch.equal(values, original[name]) for name, values in model.state_dict().items())
    # A channel of a norm stays whole: the same four numbers, elsewhere.
    parts = ("weight", "bias", "running_mean", "running_var")
    channels = [
        {tuple(row) for row in torch.stack([of[f"norm2.{part}"] for part in parts], 1).tolist()}
        for of in (original, before)
    ]
    assert channels[0] == channels[1]


def test_the_first_is_the_map_itself_and_the_rest_are_of_the_shuffled_networks(small: Explainer) -> None:
    untouched = state(small.checkpoint.model)
    copy = state(small._model)
    items = list(randomise(small, SALIENCY, PIXELS, 1, seed=3))
    original = small.attribute(SALIENCY, PIXELS, 1).pixels
    np.testing.assert_array_equal(items[0].values, original)
    assert (items[0].layers, items[0].rank_correlation, items[0].ssim) == ((), 1.0, 1.0)
    for item, (layers, model) in zip(items, cascade(small.checkpoint.model, 3), strict=True):
        assert item.layers == layers
        direct = Explainer(replace(small.checkpoint, model=model)).attribute(SALIENCY, PIXELS, 1).pixels
        np.testing.assert_array_equal(item.values, direct)
        assert item.values.shape == (32, 32)
        assert item.values.dtype == np.float32
        assert item.rank_correlation == pytest.approx(spearmanr(original.ravel(), direct.ravel()).statistic)
    assert items[-1].rank_correlation < 0.9
    assert items[-1].ssim < 0.9
    for model, was in ((small.checkpoint.model, untouched), (small._model, copy)):
        assert all(torch.equal(values, was[name]) for name, values in model.state_dict().items())


def test_the_seed_decides(small: Explainer) -> None:
    method = get_method("smoothgrad", {"samples": 2})
    runs = [[item.values for item in randomise(small, method, PIXELS, 0, seed=seed)] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0][1] != runs[2][1]).any()


def test_a_method_that_ignores_the_network_is_found_out(small: Explainer) -> None:
    items = list(randomise(small, ImageItself(), PIXELS, 0))
    assert len(items) == 4
    for item in items:
        assert item.rank_correlation == pytest.approx(1.0)
        assert item.ssim == pytest.approx(1.0)
    assert "image more than the network" in randomisation_words(items)


def test_absolute_values_are_compared_and_a_flat_map_is_like_none(small: Explainer) -> None:
    rng = np.random.default_rng(0)
    planted = torch.from_numpy(rng.standard_normal((3, 32, 32)).astype(np.float32))
    head = float(small.checkpoint.model.head.weight[0, 0])
    turned = list(randomise(small, Planted(maps={head: planted}, otherwise=-2 * planted), PIXELS, 0))
    assert [item.rank_correlation for item in turned] == pytest.approx([1, 1, 1, 1])
    assert [item.ssim for item in turned] == pytest.approx([1, 1, 1, 1])
    flat = list(randomise(small, Planted(maps={head: planted}, otherwise=torch.ones(3, 32, 32)), PIXELS, 0))
    assert [item.rank_correlation for item in flat] == [1, 0, 0, 0]
    assert max(item.ssim for item in flat[1:]) < 0.1
    other = torch.from_numpy(rng.standard_normal((3, 32, 32)).astype(np.float32))
    strange = list(randomise(small, Planted(maps={head: planted}, otherwise=other), PIXELS, 0))
    assert abs(strange[1].rank_correlation) < 0.15
    assert abs(strange[1].ssim) < 0.15


def test_a_map_without_shape_is_refused(small: Explainer) -> None:
    for value in (0.0, 1.0):
        method = Planted(maps={}, otherwise=torch.full((3, 32, 32), value))
        with pytest.raises(LabError, match="choose another method"):
            next(randomise(small, method, PIXELS, 0))
    with pytest.raises(LabError, match="no class 9"):
        next(randomise(small, SALIENCY, PIXELS, 9))


class Stop(Exception):
    pass


def test_progress_is_told_and_may_stop_it(small: Explainer) -> None:
    told: list[float] = []
    list(randomise(small, SALIENCY, PIXELS, 0, on_progress=told.append))
    assert told == [0.25, 0.5, 0.75, 1.0]
    told.clear()
    list(randomise(small, get_method("occlusion", {"window": 8, "stride": 8}), PIXELS, 0, on_progress=told.append))
    assert told == sorted(told)
    assert len(set(told)) > 4

    def stop(share: float) -> None:
        if share > 0.6:
            raise Stop

    items = randomise(small, SALIENCY, PIXELS, 0, on_progress=stop)
    assert [next(items).layers, next(items).layers] == [(), ("head",)]
    with pytest.raises(Stop):
        next(items)


def items_of(*correlations: float) -> list[RandomisedLayers]:
    names = ("head", "conv2", "conv1")
    return [
        RandomisedLayers(layers=names[:number], values=np.zeros((2, 2)), rank_correlation=value, ssim=0.0)
        for number, value in enumerate(correlations)
    ]


@pytest.mark.parametrize(
    ("correlations", "facts"),
    [
        ((1, 0.1, 0.2, -0.3), ("as soon as the classifier", "0.10, with all 3 layers −0.30")),
        ((1, 0.9, 0.2, 0.1), ("with 1 of 3 layers", "changes with conv2", "0.20, with all 3 layers 0.10")),
        ((1, 0.9, SAME, SAME - 0.01), ("with 2 of 3 layers",)),
        ((1, -0.7, 0.8, 0.1), ("as soon as the classifier",)),  # what comes back is chance
        ((1, 0.1, 0.1, SAME), ("more than the network",)),
    ],
)
def test_the_words_say_what_happened(correlations: tuple[float, ...], facts: tuple[str, ...]) -> None:
    words = randomisation_words(items_of(*correlations))
    assert all(fact in words for fact in facts)
    assert ("on what was learned" in words) == (correlations[-1] < SAME)
