"""What a teacher added to its students. No torch."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from core.common.values import plus_minus, signed, t_half_width


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherEffect:
    """What a teacher added: students against controls of the same seed, paired."""

    seeds: tuple[int, ...]
    students: tuple[float, ...]
    """By seed: accuracy in percent; of text, loss in nats."""
    controls: tuple[float, ...]
    text: bool = False

    @property
    def differences(self) -> tuple[float, ...]:
        """Student minus control of each seed: points, or nats, where less is better."""
        return tuple(ours - theirs for ours, theirs in zip(self.students, self.controls))

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences)

    @property
    def half_width(self) -> float | None:
        """Half of the 95% interval of the mean (paired t over seeds); None for one seed."""
        return t_half_width(self.differences)

    @property
    def kind(self) -> str:
        """`helps`, `hurts`, `noise`; `none` for one seed, which says nothing about luck."""
        half_width = self.half_width
        if half_width is None:
            return "none"
        if abs(self.mean) <= half_width:
            return "noise"
        return "helps" if (self.mean < 0) == self.text else "hurts"

    @property
    def figures(self) -> str:
        """`+0.62 ± 0.59 points`; with one seed `+0.4 points`."""
        unit, digits = ("nats", 3) if self.text else ("points", 1)
        half_width = self.half_width
        if half_width is None:
            return f"{signed(self.mean, digits)} {unit}"
        return f"{plus_minus(self.mean, half_width, digits)} {unit}"
