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
    smoothed,
    verdict,
)
from core.attribution.evidence.road import NOISE, impute, road
from core.attribution.explainer import Explainer
from core.attribution.methods.registry import QUICK, SLOW, get_method
from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from tests.unit.attribution.planted import NOTHING, TARGET, inside, planted, random_image, small

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


@pytest.mark.parametrize("removal", [("mean", "blur"), ("black", "noise"), ("blur",)])
def test_the_ends_are_the_image_and_its_baselines(explainer: Explainer, removal: tuple[str, ...]) -> None:
    found = curves(explainer, PIXELS, TARGET, {"one": random_map(32, 3), "two": PERFECT}, removal=removal)
    whole = probability(explainer, explainer.inputs(PIXELS))
    assert whole > 0.9
    bare = np.mean([probability(explainer, explainer.baseline(name, PIXELS)) for name in removal])
    for item in found.values():
        for curve, first, last in ((item.deletion, whole, bare), (item.insertion, bare, whole)):
            assert curve.probabilities[[0, -1]] == pytest.approx([first, last], abs=1e-6)
            assert curve.shares.tolist() == [step / 16 for step in range(17)]
            assert ((curve.probabilities >= 0) & (curve.probabilities <= 1)).all()


def test_a_point_is_the_answer_to_the_image_with_those_pixels_gone(explainer: Explainer) -> None:
    values = np.random.default_rng(5).normal(size=(32, 32))
    found = curves(explainer, PIXELS, TARGET, {"map": values}, steps=4)["map"]
    inputs, bases = explainer.inputs(PIXELS), [explainer.baseline(name, PIXELS) for name in ("mean", "blur")]
    ranked = smoothed(values)
    for step in range(5):
        first = torch.from_numpy(ranked >= np.sort(ranked, None)[::-1][256 * step - 1] if step else ranked > np.inf)
        deleted = [probability(explainer, torch.where(first, base, inputs)) for base in bases]
        inserted = [probability(explainer, torch.where(first, inputs, base)) for base in bases]
        assert found.deletion.probabilities[step] == pytest.approx(np.mean(deleted), abs=1e-6)
        assert found.insertion.probabilities[step] == pytest.approx(np.mean(inserted), abs=1e-6)


def test_a_map_is_smoothed_by_one_pixel_in_32() -> None:
    point = np.zeros((32, 32))
    point[16, 16] = 1
    found = smoothed(point)
    assert found.sum() == pytest.approx(1, abs=1e-3)
    assert found[16, 17] / found[16, 16] == pytest.approx(np.exp(-0.5), rel=1e-3)
    assert np.array_equal(smoothed(np.full((32, 32), 0.1)), np.full((32, 32), 0.1)), "an even area stays even"
    assert smoothed(1e-9 * point).max() > 0, "small values keep their order"


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
    found = curves(explainer, PIXELS, TARGET, {"map": values, "same": 3 * values - 7, "not": -values})
    assert found["map"].deletion.probabilities.tolist() == found["same"].deletion.probabilities.tolist()
    assert found["map"].deletion.probabilities.tolist() != found["not"].deletion.probabilities.tolist()


def test_equal_values_go_in_random_order_which_the_seed_gives(explainer: Explainer) -> None:
    blank = np.zeros((32, 32), dtype=np.float32)
    down = -np.arange(1024.0).reshape(32, 32)

    def of(values: np.ndarray, seed: int) -> list[float]:
        found = curves(explainer, PIXELS, TARGET, {"map": values}, seed=seed)["map"]
        return [*found.deletion.probabilities, *found.insertion.probabilities]

    assert of(blank, 0) == of(blank, 0) == of(blank + 5, 0)
    assert of(blank, 0) != of(blank, 1)
    assert of(down, 0) == of(down, 1)
    # Within the patch too: half of it, whichever half, is no better than a random part.
    scores = [curves(explainer, PIXELS, TARGET, {"map": blank}, seed=seed)["map"].score for seed in range(12)]
    assert np.mean(scores) == pytest.approx(0, abs=0.06)
    assert max(scores) < 0.25


def test_a_map_that_says_nothing_beats_nothing(explainer: Explainer) -> None:
    found = explainer.attribute(get_method("saliency"), PIXELS, NOTHING)
    assert found.blank
    assert not explainer.attribute(get_method("saliency"), PIXELS, TARGET).blank
    scored = curves(explainer, PIXELS, TARGET, {"map": found.magnitude})["map"]
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
        with pytest.raises(LabError, match=f"same as its baseline \\({name}\\).*Choose another image"):
            measure()
    with pytest.raises(LabError, match="no baseline 'white'"):
        curves(explainer, PIXELS, TARGET, {"map": PERFECT}, removal=("white",))
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


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_on_a_planted_truth_no_method_that_finds_it_is_near_chance(explainer: Explainer, name: str) -> None:
    """The class hangs on a patch: the true mask ranks first, a random map is near zero, whatever the signs of a map."""
    of_method, of_truth, roads = [], [], []
    for seed in range(2):
        pixels = random_image(seed)
        found = explainer.attribute(get_method(name), pixels, TARGET, seed=seed)
        maps = {name: found.magnitude, "truth": PERFECT, **control_maps(pixels, seed)}
        scores = {key: item.score for key, item in curves(explainer, pixels, TARGET, maps, seed=seed).items()}
        of_method.append(scores[name])
        of_truth.append(scores["truth"])
        assert scores["truth"] == max(scores.values())
        assert scores[name] > 0.2 + max(score for key, score in scores.items() if key.startswith("random"))
        roads.append(road(explainer, pixels, TARGET, {name: found.magnitude, "truth": PERFECT}, seed))
    assert np.mean(of_truth) > 0.6
    assert np.mean(of_method) > 0.6
    for filled in roads:
        assert filled["truth"] > 0.6
        assert filled[name] > 0.6


@pytest.mark.parametrize("checkpoint", [planted(), small(), small("fast_resnet")], ids=lambda item: item.card.title)
def test_a_random_map_scores_zero(checkpoint: Checkpoint) -> None:
    """Whatever the network: 60 random maps on 3 images, by the score and by ROAD, within 3 standard errors."""
    asked = Explainer(checkpoint)
    scores, filled = [], []
    for seed in range(3):
        pixels = random_image(seed)
        target = int(asked.logits(asked.inputs(pixels)).argmax())
        maps = {str(number): random_map(32, 100 * seed + number) for number in range(20)}
        scores += [item.score for item in curves(asked, pixels, target, maps, seed=seed).values()]
        filled += road(asked, pixels, target, dict(list(maps.items())[:8]), seed).values()
    for found in (scores, filled):
        assert abs(np.mean(found)) < 3 * np.std(found, ddof=1) / np.sqrt(len(found)) + 1e-3


def test_filling_in_is_the_weighted_mean_of_the_neighbours() -> None:
    """A slope is its own neighbours' mean, so that a hole in one is filled in exactly, but for the noise."""
    across = np.linspace(-1, 1, 32, dtype=np.float32)
    slope = np.stack([across[:, None] + 2 * across, across[:, None] - across, np.full((32, 32), 0.5)]).astype(
        np.float32
    )
    gone = np.zeros((32, 32), dtype=bool)
    gone[4:20, 9:25] = True
    filled = impute(np.where(gone, 7, slope), gone, seed=3)
    np.testing.assert_array_equal(filled[:, ~gone], slope[:, ~gone])
    error = (filled - slope)[:, gone]
    assert np.abs(error).max() < 6 * NOISE
    assert np.std(error) == pytest.approx(NOISE, rel=0.1)
    np.testing.assert_array_equal(filled, impute(np.where(gone, -7, slope), gone, seed=3))
    np.testing.assert_array_equal(impute(slope, ~(gone | True)), slope)
    corner = np.ones((32, 32), dtype=bool)
    corner[0, 0] = False
    assert np.abs(impute(slope, corner) - slope[:, :1, :1]).max() < 6 * NOISE, "all is filled in from what is left"
