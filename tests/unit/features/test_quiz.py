"""The quiz: fair pairs, and a control that knows nothing of noise."""

from __future__ import annotations

import numpy as np
import pytest

from core.common.errors import LabError
from core.common.values import wilson
from core.features.quiz import brighter_rule, in_split, make_pairs, score

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (2000, 4, 4, 3), dtype=np.uint8)
NOISE = RANDOM.normal(size=2000).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_pairs_never_repeat_never_show_hints_and_differ_in_rank(seed: int) -> None:
    pairs = make_pairs(NOISE, seed)
    assert len(pairs) == 10
    shown = [place for pair in pairs for place in (pair.first, pair.second)]
    assert len(set(shown)) == 20
    order = np.argsort(-NOISE)
    assert not {*order[:9], *order[-9:]} & set(shown)
    rank = np.argsort(order)
    for pair in pairs:
        winner, loser = (pair.first, pair.second) if pair.first_wins else (pair.second, pair.first)
        assert 200 <= rank[winner] < 400
        assert rank[loser] >= 1000
    assert make_pairs(NOISE, seed) == pairs


def test_a_seed_of_several_numbers_draws_other_pairs() -> None:
    assert make_pairs(NOISE, (3, 1)) == make_pairs(NOISE, (3, 1))
    assert not {*make_pairs(NOISE, (3, 1))} & {*make_pairs(NOISE, (3, 0))}


def test_pairs_of_some_images_are_pairs_of_the_split() -> None:
    pairs, places = make_pairs(NOISE, 0), np.arange(2000) * 3 + 1
    for pair, moved in zip(pairs, in_split(pairs, places), strict=True):
        assert (moved.first, moved.second) == (3 * pair.first + 1, 3 * pair.second + 1)
        assert moved.first_wins == pair.first_wins


def test_the_rule_is_right_half_of_the_time_on_noise_and_always_for_brightness() -> None:
    rule = brighter_rule(NOISE, IMAGES, 0)
    assert rule.n == 199
    low, high = rule.interval
    assert low < 0.5 < high
    brightness = IMAGES.mean((1, 2, 3))
    assert brighter_rule(brightness, IMAGES, 0).rate == 1
    assert brighter_rule(-brightness, IMAGES, 0).rate == 0


def test_scores_add_up() -> None:
    pairs = make_pairs(NOISE, 0)
    right = [pair.first_wins for pair in pairs]
    assert score(pairs, right).rate == 1
    half = score(pairs, [not answer for answer in right[:4]])
    assert (half.hits, half.n) == (0, 4)
    both = score(pairs, right) + half
    assert both.interval == wilson(10, 14)
    assert score(pairs, []).rate == 0


def test_too_few_images_and_a_dead_unit_are_one_sentence() -> None:
    with pytest.raises(LabError, match="more test images"):
        make_pairs(NOISE[:50], 0)
    with pytest.raises(LabError, match="alike"):
        make_pairs(np.zeros(2000), 0)
