"""Measures of a map: exact on straight lines, equal to direct calls of Captum, and blank maps get what they deserve."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from captum.attr import Saliency as CaptumSaliency
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max
from torch import Tensor, nn

from core.attribution.evidence.stability import cover_squares, infidelity, max_sensitivity, squares
from core.attribution.explainer import Attribution, Explainer
from core.attribution.methods.registry import get_method
from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.models import build_model
from tests.unit.builders import synthetic

DATA = synthetic(held_out=20)
CARD = Card(title="Small", model="simple_cnn", model_config={}, dataset=DATA.card)
PIXELS = DATA.test.images[2]
MEAN_COLOUR = dataclasses.replace(CARD, dataset=dataclasses.replace(DATA.card, mean=(0.4, 0.4, 0.4)))
FLAT = np.full((32, 32, 3), 102, dtype=np.uint8)  # exactly that mean colour


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "cnn":
        return build_model("simple_cnn", {"classes": 4, "widths": (8, 8)})
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))


def explainer(kind: str, card: Card = CARD) -> Explainer:
    return Explainer(Checkpoint("small", card, network(kind).eval().requires_grad_(False)))


@pytest.fixture(scope="module")
def straight() -> Explainer:
    return explainer("linear")


@pytest.fixture(scope="module")
def small() -> Explainer:
    return explainer("cnn")


def error_of(explainer: Explainer, found: Attribution, pixels: np.ndarray, **how: int) -> float:
    """The infidelity of a map, its squares covered with its own baseline and seed."""
    how = {"seed": found.seed} | how
    return infidelity(found, cover_squares(explainer, pixels, found.target, baseline=found.baseline, **how))


def with_values(found: Attribution, values: np.ndarray) -> Attribution:
    return dataclasses.replace(found, values=np.ascontiguousarray(values, dtype=np.float32))


@pytest.mark.parametrize(
    ("method", "baseline"),
    [("integrated_gradients", "black"), ("integrated_gradients", "noise"), ("input_x_gradient", "mean")],
)
def test_a_straight_line_is_foretold_exactly(straight: Explainer, method: str, baseline: str) -> None:
    found = straight.attribute(get_method(method), PIXELS, 1, baseline=baseline, seed=5)
    assert error_of(straight, found, PIXELS) < 1e-6


def test_slopes_foretell_through_the_change_of_the_pixels(straight: Explainer) -> None:
    found = straight.attribute(get_method("saliency"), PIXELS, 1)
    weights = straight.checkpoint.model[1].weight[1].view(3, 32, 32).numpy()
    np.testing.assert_allclose(found.values, np.abs(weights), rtol=1e-6)
    assert error_of(straight, with_values(found, weights), PIXELS) < 1e-6  # the gradient with its sign
    assert error_of(straight, found, PIXELS) > 0.1
    shares = dataclasses.replace(with_values(found, weights), method=get_method("input_x_gradient"))
    assert error_of(straight, shares, PIXELS) > 0.1  # slopes are no shares


def test_a_planted_map_beats_a_random_one_at_any_scale_but_not_turned_over(straight: Explainer) -> None:
    found = straight.attribute(get_method("integrated_gradients"), PIXELS, 1, baseline="black")
    truth = found.inputs - straight.baseline("black", PIXELS)[0].numpy()
    truth *= straight.checkpoint.model[1].weight[1].view(3, 32, 32).numpy()
    random = np.random.default_rng(0).standard_normal(truth.shape)
    scores = [error_of(straight, with_values(found, values), PIXELS) for values in (truth, 1000 * truth, random)]
    assert scores[0] < 1e-6
    assert scores[1] == pytest.approx(scores[0], abs=1e-9)
    assert 0.3 < scores[2] <= 1
    assert error_of(straight, with_values(found, -truth), PIXELS) == 1.0
    half = truth * (np.arange(32) < 16)
    assert scores[0] < error_of(straight, with_values(found, half), PIXELS) < 1


def test_a_blank_map_is_no_better_than_zeros(small: Explainer) -> None:
    found = small.attribute(get_method("saliency"), PIXELS, 1)
    assert error_of(small, with_values(found, 0 * found.values), PIXELS) == 1.0


@pytest.mark.parametrize(
    ("method", "sign"), [("input_x_gradient", 1), ("guided_backprop", -1), ("grad_cam", -1), ("occlusion", 1)]
)
def test_it_is_captums_over_the_mean_squared_fall(small: Explainer, method: str, sign: int) -> None:
    """sign: -1 where the map of this untrained network foretells rises for falls, which Captum's scale turns over."""
    kind = get_method(method)
    found = small.attribute(kind, PIXELS, 2, baseline="black")
    inputs, base = small.inputs(PIXELS), small.baseline("black", PIXELS)
    inside = torch.from_numpy(squares(32, 70, 4))[:, None].expand(-1, 3, -1, -1)

    def perturb(copies: Tensor) -> tuple[Tensor, Tensor]:
        assert len(copies) == 70
        covered = torch.where(inside, base, copies)
        return (copies - covered) if kind.is_gradient else inside.float(), covered

    def direct(values: np.ndarray, **how: bool) -> float:
        given = torch.from_numpy(values)[None]
        return float(
            captum_infidelity(small.checkpoint.model, perturb, inputs, given, target=2, n_perturb_samples=70, **how)
        )

    # Captum's error of a map of zeros, unscaled, is the mean squared fall.
    wanted = direct(found.values, normalize=True) / direct(0 * found.values)
    assert 0 < wanted < 1
    for scale in (1, 3):  # values of a map without channels count once or three times: all the same
        right = with_values(found, sign * scale * found.values)
        assert error_of(small, right, PIXELS, samples=70, seed=4) == pytest.approx(wanted, rel=1e-3)
    wrong = with_values(found, -sign * found.values)
    assert error_of(small, wrong, PIXELS, samples=70, seed=4) == 1.0


def test_squares_are_whole_anywhere_and_of_the_seed() -> None:
    found = squares(32, 400, 0)
    for inside in found:
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert len(rows) == len(columns)
        assert inside.sum() == len(rows) ** 2 == (np.ptp(rows) + 1) ** 2
    widths = np.sqrt(found.sum((1, 2)))
    assert (widths.min(), widths.max()) == (2, 16)
    assert found.any((0, 1)).all()
    assert found.any((0, 2)).all()
    np.testing.assert_array_equal(found[:10], squares(32, 10, 0))
    assert (found[:10] != squares(32, 10, 1)).any()


def test_the_same_seed_gives_the_same_and_nobodys_lots_are_touched(small: Explainer) -> None:
    method = get_method("smoothgrad", {"samples": 4})
    found = small.attribute(get_method("occlusion"), PIXELS, 1)
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()
    scores = [error_of(small, found, PIXELS, seed=seed) for seed in (0, 0, 1)]
    still = [max_sensitivity(small, method, PIXELS, 1, samples=2, seed=seed) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    assert still[0] == still[1] != still[2]
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_a_image_that_is_its_baseline_is_covered_by_another_or_refused() -> None:
    asked = explainer("linear", MEAN_COLOUR)
    black = np.zeros((32, 32, 3), dtype=np.uint8)
    found = asked.attribute(get_method("input_x_gradient"), black, 0, baseline="black")
    truth = asked.checkpoint.model[1].weight[0].view(3, 32, 32).numpy() * asked.inputs(black)[0].numpy()
    assert error_of(asked, with_values(found, truth), black) < 1e-6  # covered by the mean colour
    of_flat = dataclasses.replace(found, baseline="mean")
    with pytest.raises(LabError, match="Choose another image"):
        error_of(asked, of_flat, FLAT)  # its blur is itself, too


def test_where_nothing_moves_the_logit_there_is_nothing_to_foretell(straight: Explainer) -> None:
    found = straight.attribute(get_method("saliency"), PIXELS, 1)
    dead = network("linear").eval().requires_grad_(False)
    dead[1].weight.zero_()
    assert math.isnan(error_of(Explainer(Checkpoint("dead", CARD, dead)), found, PIXELS))


def test_the_gradient_of_a_straight_line_holds_still(straight: Explainer) -> None:
    assert max_sensitivity(straight, get_method("saliency"), PIXELS, 0) == 0.0


def test_input_times_gradient_moves_with_its_input(straight: Explainer) -> None:
    """Of a straight line w·x the map moves by w·noise: within radius times |w| / |w·x|, and near it at random."""
    found = straight.attribute(get_method("input_x_gradient"), PIXELS, 0)
    weights = straight.checkpoint.model[1].weight[0]
    bound = 0.02 * float(weights.norm()) / float(np.linalg.norm(found.values))
    moved = max_sensitivity(straight, get_method("input_x_gradient"), PIXELS, 0, samples=3, seed=1)
    assert moved == pytest.approx(bound / math.sqrt(3), rel=0.1)  # uniform noise: its deviation is radius / √3


@pytest.mark.parametrize(("radius", "seed"), [(0.02, 0), (0.3, 7)])
def test_it_is_captums_own_sensitivity(small: Explainer, radius: float, seed: int) -> None:
    torch.manual_seed(seed)
    direct = sensitivity_max(
        CaptumSaliency(small.checkpoint.model).attribute,
        small.inputs(PIXELS).contiguous(),  # else Captum cannot flatten it
        perturb_radius=radius,
        n_perturb_samples=6,
        target=2,
    )
    found = max_sensitivity(small, get_method("saliency"), PIXELS, 2, radius=radius, samples=6, seed=seed)
    assert found == pytest.approx(float(direct), rel=1e-4)
    assert found > 0


def test_random_methods_draw_the_same_lots_for_each_image(small: Explainer) -> None:
    method = get_method("smoothgrad", {"samples": 3})
    assert max_sensitivity(small, method, PIXELS, 1, radius=0.0, samples=2) < 1e-5
    lots = [small.attribute(method, PIXELS, 1, seed=seed).values for seed in (0, 1)]
    assert np.linalg.norm(lots[0] - lots[1]) > 0.05 * np.linalg.norm(lots[0])  # else it would be 0 anyway


def test_a_blank_map_has_no_share(small: Explainer) -> None:
    """An image of the mean colour, which is 0 for the network: Input × Gradient is blank."""
    asked = Explainer(dataclasses.replace(small.checkpoint, card=MEAN_COLOUR))
    assert asked.attribute(get_method("input_x_gradient"), FLAT, 0).blank
    assert math.isnan(max_sensitivity(asked, get_method("input_x_gradient"), FLAT, 0))


def test_what_is_refused_is_one_sentence(straight: Explainer, small: Explainer) -> None:
    with pytest.raises(LabError, match="feature maps"):
        max_sensitivity(straight, get_method("grad_cam"), PIXELS, 0)
    with pytest.raises(LabError, match="no class 4"):
        max_sensitivity(small, get_method("saliency"), PIXELS, 4)


class Stop(Exception):
    pass


def test_progress_is_told_and_may_stop_it(small: Explainer) -> None:
    told: list[float] = []
    max_sensitivity(small, get_method("saliency"), PIXELS, 0, samples=3, on_progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]
    told.clear()
    max_sensitivity(
        small, get_method("occlusion", {"window": 8, "stride": 8}), PIXELS, 0, samples=1, on_progress=told.append
    )
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert any(0 < share < 0.5 for share in told)

    def stop(share: float) -> None:
        if share > 0.4:
            raise Stop

    before = [values.clone() for values in small.checkpoint.model.state_dict().values()]
    with pytest.raises(Stop):
        max_sensitivity(small, get_method("saliency"), PIXELS, 0, samples=3, on_progress=stop)
    assert all(torch.equal(*pair) for pair in zip(before, small.checkpoint.model.state_dict().values()))
    assert error_of(small, small.attribute(get_method("saliency"), PIXELS, 0), PIXELS, samples=1) >= 0
