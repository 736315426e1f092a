"""Insertion and deletion curves: their ends, their order, their ties, and what they are compared with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.attribution.evidence.controls import CONTROLS, blob, control_maps, edges, random_map
from core.attribution.evidence.curves import (
    Curve,
    Faithfulness,
    control_curves,
    curves,
    verdict,
)
from core.attribution.explainer import Explainer
from core.attribution.methods.registry import get_method
from core.common.errors import LabError
from tests.unit.attribution.planted import NOTHING, TARGET, inside, planted, random_image

PIXELS = random_image()
PERFECT = inside().astype(np.float32)
GREY = np.full((32, 32, 3), 128, dtype=np.uint8)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(planted())


def probability(explainer: Explainer, inputs: torch.Tensor) -> float:
    return float(explainer.probabilities(inputs)[0, TARGET])


def constant(area: float) -> Faithfulness:
    """With that score."""
    shares = np.linspace(0, 1, 5)
    return Faithfulness(
        insertion=Curve(shares=shares, probabilities=np.full(5, 0.5 + area / 2)),
        deletion=Curve(shares=shares, probabilities=np.full(5, 0.5 - area / 2)),
    )


@pytest.mark.parametrize("bases", [("mean", "blur"), ("black", "noise")])
def test_the_ends_are_the_image_and_its_baselines(explainer: Explainer, bases: tuple[str, str]) -> None:
    deleted, inserted = bases
    found = curves(
        explainer, PIXELS, TARGET, {"one": random_map(32, 3), "two": PERFECT}, deleted=deleted, inserted=inserted
    )
    whole = probability(explainer, explainer.inputs(PIXELS))
    assert whole > 0.9
    for item in found.values():
        for curve, first, last in (
            (item.deletion, whole, probability(explainer, explainer.baseline(deleted, PIXELS))),
            (item.insertion, probability(explainer, explainer.baseline(inserted, PIXELS)), whole),
        ):
            assert curve.probabilities[[0, -1]] == pytest.approx([first, last], abs=1e-6)
            assert curve.shares.tolist() == [step / 32 for step in range(33)]
            assert ((curve.probabilities >= 0) & (curve.probabilities <= 1)).all()


def test_a_point_is_the_answer_to_the_image_with_those_pixels_gone(explainer: Explainer) -> None:
    values = np.random.default_rng(5).normal(size=(32, 32))
    found = curves(explainer, PIXELS, TARGET, {"map": values}, steps=4)["map"]
    inputs, mean, blur = explainer.inputs(PIXELS), *(explainer.baseline(name, PIXELS) for name in ("mean", "blur"))
    for step in range(5):
        first = torch.from_numpy(values >= np.sort(values, None)[::-1][256 * step - 1] if step else values > np.inf)
        deleted, inserted = torch.where(first, mean, inputs), torch.where(first, inputs, blur)
        assert found.deletion.probabilities[step] == pytest.approx(probability(explainer, deleted), abs=1e-6)
        assert found.insertion.probabilities[step] == pytest.approx(probability(explainer, inserted), abs=1e-6)


def test_areas() -> None:
    shares = np.linspace(0, 1, 9)
    assert Curve(shares=shares, probabilities=np.full(9, 0.3)).area == pytest.approx(0.3)
    assert Curve(shares=shares, probabilities=shares).area == pytest.approx(0.5)
    step = Curve(shares=np.array([0, 0.5, 0.5, 1]), probabilities=np.array([0.0, 0, 1, 1]))
    assert step.area == pytest.approx(0.5)
    assert constant(0.4).score == pytest.approx(0.4)
    assert constant(-0.4).score == pytest.approx(-0.4)


def test_a_perfect_map_is_first_and_a_random_one_last(explainer: Explainer) -> None:
    half = PERFECT.copy()
    half[12:] = 0
    wide = np.zeros_like(PERFECT)
    wide[4:20, 16:32] = 1
    maps = {"perfect": PERFECT, "half": half, "wide": wide} | {f"random {n}": random_map(32, n) for n in range(5)}
    scores = {name: item.score for name, item in curves(explainer, PIXELS, TARGET, maps).items()}
    assert list(scores) == list(maps)
    ranked = sorted(scores, key=lambda name: -scores[name])
    assert ranked[0] == "perfect"
    assert set(ranked[1:3]) == {"half", "wide"}
    assert scores["perfect"] > 0.6
    assert max(scores[name] for name in ranked[3:]) < 0.2
    # The other way round, everything is the other way round.
    inverse = curves(explainer, PIXELS, TARGET, {"inverse": -PERFECT})["inverse"].score
    assert inverse < min(scores.values())


def test_only_the_order_counts(explainer: Explainer) -> None:
    values = np.random.default_rng(1).normal(size=(32, 32))
    found = curves(explainer, PIXELS, TARGET, {"map": values, "same": np.exp(3 * values) - 7, "not": -values})
    assert found["map"].deletion.probabilities.tolist() == found["same"].deletion.probabilities.tolist()
    assert found["map"].deletion.probabilities.tolist() != found["not"].deletion.probabilities.tolist()


def test_equal_values_go_by_lot_and_the_lots_are_the_same_again(explainer: Explainer) -> None:
    blank = np.zeros((32, 32), dtype=np.float32)
    down = -np.arange(1024.0).reshape(32, 32)

    def of(values: np.ndarray, seed: int) -> list[float]:
        found = curves(explainer, PIXELS, TARGET, {"map": values}, seed=seed)["map"]
        return [*found.deletion.probabilities, *found.insertion.probabilities]

    assert of(blank, 0) == of(blank, 0) == of(blank + 5, 0)
    assert of(blank, 0) != of(blank, 1)
    assert of(down, 0) == of(down, 1)
    # Within the patch too: half of it, whichever half, is no better than a part drawn by lot.
    scores = [curves(explainer, PIXELS, TARGET, {"map": blank}, seed=seed)["map"].score for seed in range(12)]
    randoms = {str(number): random_map(32, number) for number in range(12)}
    wanted = [item.score for item in curves(explainer, PIXELS, TARGET, randoms).values()]
    assert np.mean(scores) == pytest.approx(np.mean(wanted), abs=0.06)
    assert max(scores) < 0.25


def test_a_map_that_says_nothing_beats_nothing(explainer: Explainer) -> None:
    found = explainer.attribute(get_method("saliency"), PIXELS, NOTHING)
    assert found.blank
    assert not explainer.attribute(get_method("saliency"), PIXELS, TARGET).blank
    scored = curves(explainer, PIXELS, TARGET, {"map": found.pixels})["map"]
    controls = control_curves(explainer, PIXELS, TARGET)
    assert {"edges", "blob"} <= set(verdict(scored, controls).not_beaten)


def test_values_that_are_no_numbers_count_as_zero(explainer: Explainer) -> None:
    values = PERFECT.copy()
    values[0, 0] = np.nan
    found = curves(explainer, PIXELS, TARGET, {"map": values, "perfect": PERFECT})
    assert found["map"].score == pytest.approx(found["perfect"].score, abs=1e-6)


@pytest.mark.parametrize(("pixels", "name"), [(GREY, "blur"), (GREY * 0, "blur")])
def test_a_image_that_is_its_baseline_cannot_be_measured(explainer: Explainer, pixels: np.ndarray, name: str) -> None:
    for measure in (
        lambda: curves(explainer, pixels, TARGET, {"map": PERFECT}),
        lambda: control_curves(explainer, pixels, TARGET),
    ):
        with pytest.raises(LabError, match=f"same as its baseline \\({name}\\).*Choose another baseline or image"):
            measure()
    with pytest.raises(LabError, match="no baseline 'white'"):
        curves(explainer, PIXELS, TARGET, {"map": PERFECT}, deleted="white")
    with pytest.raises(LabError, match="32x32"):
        curves(explainer, pixels[:8], TARGET, {"map": PERFECT})


def test_controls_know_the_image_at_most() -> None:
    found = control_maps(PIXELS, seed=4)
    assert set(found) == {"edges", "blob", "random-0", "random-1", "random-2"}
    assert all(values.shape == (32, 32) and values.min() >= 0 for values in found.values())
    assert len({values.tobytes() for values in found.values()}) == 5
    assert np.array_equal(found["random-1"], control_maps(PIXELS, seed=4)["random-1"])
    assert not np.array_equal(found["random-1"], control_maps(PIXELS, seed=5)["random-1"])
    assert blob(32).argmax() in (15 * 32 + 15, 15 * 32 + 16, 16 * 32 + 15, 16 * 32 + 16)
    assert np.array_equal(blob(32), blob(32).T)
    halves = np.zeros((32, 32, 3), dtype=np.uint8)
    halves[:, 16:] = 200
    assert set(np.flatnonzero(edges(halves).sum(0))) == {15, 16}


def test_the_random_control_is_the_mean_of_several(explainer: Explainer) -> None:
    found = control_curves(explainer, PIXELS, TARGET, seed=2)
    assert set(found) == set(CONTROLS)
    maps = {name: values for name, values in control_maps(PIXELS, 2).items() if name.startswith("random")}
    each = [item.insertion.probabilities for item in curves(explainer, PIXELS, TARGET, maps, seed=2).values()]
    np.testing.assert_allclose(found["random"].insertion.probabilities, np.mean(each, 0))
    scores = [item.score for item in curves(explainer, PIXELS, TARGET, maps, seed=2).values()]
    assert found["random"].score == pytest.approx(np.mean(scores))


@pytest.mark.parametrize(
    ("score", "label", "not_beaten"),
    [
        (0.5, "better than the controls", ()),
        (0.4, "no better than a centre blob", ("blob",)),
        (0.3, "no better than edges", ("edges", "blob")),
        (0.1, "no better than chance", ("random", "edges", "blob")),
        (-0.5, "no better than chance", ("random", "edges", "blob")),
    ],
)
def test_a_verdict_names_the_humblest_control_that_is_not_beaten(
    score: float, label: str, not_beaten: tuple[str, ...]
) -> None:
    found = verdict(constant(score), {"random": constant(0.1), "edges": constant(0.3), "blob": constant(0.4)})
    assert (found.label, found.not_beaten) == (label, not_beaten)
    assert found.score == pytest.approx(score)


def test_a_method_that_is_right_is_better_than_the_controls(explainer: Explainer) -> None:
    controls = control_curves(explainer, PIXELS, TARGET)
    for name in ("integrated_gradients", "grad_cam", "occlusion"):
        values = explainer.attribute(get_method(name), PIXELS, TARGET).pixels
        found = verdict(curves(explainer, PIXELS, TARGET, {name: values})[name], controls)
        assert found.label == "better than the controls", name
