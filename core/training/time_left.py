"""How long a run still takes, told steadily from its first steps on. Nothing here imports torch."""

from __future__ import annotations

from collections import deque
from statistics import median

INTERVALS = 40
"""Looks at the clock that the pace is taken from: half a second or a step apart, whichever is longer."""
SURE_S, SURE_INTERVALS = 20.0, 10
"""After this much training only measurements count. Until then, the estimate beforehand loses weight step by step."""
FEWEST = 6
"""Intervals before anything is said where there is no estimate beforehand."""
FORWARD_SHARE = 1 / 3
"""What an example of an evaluation costs beside one of training, which goes forward and back: until one was measured."""


class TimeLeft:
    """Told how long steps and evaluations take; says how long the rest will.

    Medians, because a pause of the machine must not change what the rest takes.
    """

    def __init__(self, speed_before: float | None, eval_examples: int) -> None:
        """speed_before: training examples per second, evaluations included, as estimated before; None where nobody knows.
        eval_examples: images or characters of one evaluation."""
        self.speed_before, self.eval_examples = speed_before, eval_examples
        self.paces: deque[float] = deque(maxlen=INTERVALS)
        self.evaluations: deque[float] = deque(maxlen=INTERVALS)
        self.seen_s, self.begun = 0.0, False

    def add_training(self, seconds: float, examples: int) -> None:
        """An interval of training was that long. The first builds kernels and memory pools: it is no measure of the others."""
        if examples > 0 and self.begun:
            self.paces.append(seconds / examples)
            self.seen_s += seconds
        self.begun = True

    def add_evaluation(self, seconds: float) -> None:
        self.evaluations.append(seconds)

    def seconds(self, examples: int, evaluations: int) -> float | None:
        """Of what is left: training examples to see, and evaluations. None while nothing is known."""
        before = examples / self.speed_before if self.speed_before else None
        if len(self.paces) < (1 if before is not None else FEWEST):
            return before
        pace = median(self.paces)
        each = median(self.evaluations) if self.evaluations else self.eval_examples * pace * FORWARD_SHARE
        measured = examples * pace + evaluations * each
        if before is None:
            return measured
        trust = min(1.0, self.seen_s / SURE_S) * min(1.0, len(self.paces) / SURE_INTERVALS)
        return trust * measured + (1 - trust) * before
