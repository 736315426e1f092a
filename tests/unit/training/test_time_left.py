"""The time left is steady from the start, also where a machine stumbles, and right once enough was seen."""

from __future__ import annotations

import itertools
import random

from core.training.time_left import TimeLeft

STEPS, BATCH, EVAL_EVERY, EVAL_S = 600, 100, 100, 3.0


def told(speed_before: float | None) -> list[tuple[float, float]]:
    """A run of 0.1 s a step, slow in its first ones and with pauses: (share done, told over true time left) after each step.

    The clock is read every half second, as a worker does.
    """
    noise = random.Random(0)
    steps = [0.1 * noise.uniform(0.8, 1.25) * (10 if i < 3 else 6 if i % 25 == 0 else 1) for i in range(STEPS)]
    left, found = TimeLeft(speed_before, eval_examples=5000), []
    interval_s, examples = 0.0, 0
    for i, seconds in enumerate(steps, 1):
        interval_s, examples = interval_s + seconds, examples + BATCH
        if interval_s >= 0.5:
            left.add_training(interval_s, examples)
            interval_s, examples = 0.0, 0
        rest = sum(steps[i:]) + EVAL_S * (STEPS // EVAL_EVERY - (i - 1) // EVAL_EVERY)
        said = left.seconds(BATCH * (STEPS - i), STEPS // EVAL_EVERY - (i - 1) // EVAL_EVERY)
        if said is not None:
            found.append((i / STEPS, said / rest))
        if i % EVAL_EVERY == 0:
            left.add_evaluation(EVAL_S)
    return found


def test_it_is_steady_from_the_first_step_with_an_estimate_beforehand() -> None:
    """The estimate is a third off, as one from an earlier run may be; a pause or a slow start never doubles what is said."""
    found = [ratio for share, ratio in told(1.33 * STEPS * BATCH / 95) if share < 0.98]
    assert len(found) > 500
    assert all(0.6 < ratio < 1.4 for ratio in found)
    assert all(abs(one - next_) < 0.25 for one, next_ in itertools.pairwise(found))


def test_without_one_it_is_right_after_a_few_steps() -> None:
    found = told(None)
    assert found[0][0] < 0.05, "within a few seconds"
    assert all(0.6 < ratio < 1.4 for share, ratio in found if share < 0.98)


def test_nothing_is_said_while_nothing_is_known() -> None:
    assert TimeLeft(None, 5000).seconds(1000, 1) is None
    assert TimeLeft(500.0, 5000).seconds(1000, 1) == 2
