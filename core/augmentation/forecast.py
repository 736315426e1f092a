"""What a pipeline is expected to bring: a small regression of measured gains on affinity and added loss.

The arms are trainings of Simple CNN with one pipeline each. Their affinity and added loss are measured on the network of the
same study that was trained without augmentation, on its own training images. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from core.augmentation.results import rounded
from core.common.errors import LabError
from core.common.results import check_format
from core.common.values import signed, t_half_width

FORMAT = 1
TERMS: dict[str, Callable[[float, float], tuple[float, ...]]] = {
    "affinity": lambda affinity, loss: (affinity,),
    "added loss": lambda affinity, loss: (loss,),
    "affinity and added loss": lambda affinity, loss: (affinity, loss),
    "affinity, added loss and their product": lambda affinity, loss: (affinity, loss, affinity * loss),
}
"""What the regression may rest on. affinity: share of images, not points; loss: nats."""
PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Of the ridge, on terms of unit variance."""
FEWEST_ARMS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A pipeline that was trained, and what it brought."""

    pipeline: str
    affinity: float
    """Percentage points."""
    added_loss: float
    """Nats."""
    gain: float
    """Accuracy with it minus without, mean over seeds, percentage points."""
    seeds: int

    @property
    def transforms(self) -> frozenset[str]:
        """Arms that share one are left out together."""
        return frozenset(re.split("[:@]", step)[0] for step in self.pipeline.split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """A ridge regression: gain = intercept + sum of weights × (term − mean) / scale."""

    terms: str
    """One of TERMS."""
    penalty: float
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    """Mean gain of its arms, percentage points."""

    def predict(self, affinity: float, added_loss: float) -> float:
        """Percentage points. affinity: percentage points."""
        values = TERMS[self.terms](affinity / 100, added_loss)
        parts = zip(values, self.mean, self.scale, self.weights, strict=True)
        return self.intercept + sum(weight * (value - mean) / scale for value, mean, scale, weight in parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """An arm as it is forecast from the others, those that share a transform with it left out too."""

    pipeline: str
    gain: float
    forecast: float
    control: float
    """The mean gain of the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastModel:
    """The regression on all arms, with the error that it made on each arm before it had seen it."""

    model: str
    dataset: str
    train_size: int
    steps: int
    batch_size: int
    network: str
    """Folder, beside the file, of the network that affinity and added loss are measured on."""
    arms: tuple[Arm, ...]
    regression: Regression
    left_out: tuple[LeftOut, ...]
    made: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """Mean absolute error on arms that were left out, percentage points."""
        return statistics.fmean(abs(item.forecast - item.gain) for item in self.left_out)

    @property
    def control_error(self) -> float:
        """The same of always saying the mean gain of the others."""
        return statistics.fmean(abs(item.control - item.gain) for item in self.left_out)

    @property
    def control(self) -> float:
        """What the control says of a new pipeline: the mean gain of all arms, percentage points."""
        return statistics.fmean(arm.gain for arm in self.arms)

    @property
    def better(self) -> bool:
        """Whether it beats the control by more than chance: the 95% interval of the saved error leaves out 0."""
        saved = [abs(item.control - item.gain) - abs(item.forecast - item.gain) for item in self.left_out]
        half = t_half_width(saved)
        return half is not None and statistics.fmean(saved) > half

    def headline(self, expected: float) -> str:
        """A forecast in a sentence; first, whether it is worth more than the control. expected: percentage points."""
        figures = f"{signed(expected)} points, typically off by {self.error:.1f}"
        if self.better:
            return f"Expected: {figures}"
        no_better = "No better" if self.error >= self.control_error else "Not surely better"
        return f"{no_better} than always saying the mean gain of {signed(self.control)}: forecast {figures}"

    @property
    def trust(self) -> str:
        """How far to believe a forecast, in a sentence."""
        words = (
            f"On the {len(self.left_out)} pipelines it had not seen it was off by {self.error:.1f} points on average; always "
            f"saying the mean gain is off by {self.control_error:.1f}."
        )
        if self.error >= self.control_error:
            return f"{words} So it is no better than that."
        return words if self.better else f"{words} That difference may be chance."

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT} | rounded(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Any) -> ForecastModel:
        """Raises LabError or what a damaged file raises."""
        values = dict(check_format(values, FORMAT, "forecast"))
        del values["format"]
        regression: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values["regression"].items()
        }
        return cls(
            **values
            | {
                "arms": tuple(Arm(**item) for item in values["arms"]),
                "left_out": tuple(LeftOut(**item) for item in values["left_out"]),
                "regression": Regression(**regression),
            }
        )


def fit(arms: Sequence[Arm], terms: str, penalty: float) -> Regression:
    """Ridge on standardised terms; the intercept is not penalised. Source: Hoerl & Kennard 1970."""
    table = np.array([TERMS[terms](arm.affinity / 100, arm.added_loss) for arm in arms])  # (arms, terms)
    gains = np.array([arm.gain for arm in arms])
    mean, scale = table.mean(0), table.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    unit = (table - mean) / scale
    weights = np.linalg.solve(unit.T @ unit + penalty * np.eye(unit.shape[1]), unit.T @ (gains - gains.mean()))
    return Regression(
        terms=terms,
        penalty=penalty,
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weights.tolist()),
        intercept=float(gains.mean()),
    )


def choose(arms: Sequence[Arm]) -> Regression:
    """The regression whose terms and penalty miss least on arms that are left out. Raises LabError for too few arms."""
    if len(arms) < FEWEST_ARMS:
        raise LabError(f"A forecast needs at least {FEWEST_ARMS} trained pipelines: there are {len(arms)}.")

    def error(setting: tuple[str, float]) -> float:
        return statistics.fmean(
            abs(fit(rest, *setting).predict(arm.affinity, arm.added_loss) - arm.gain)
            for arm, rest in without_each(arms)
        )

    return fit(arms, *min(product(TERMS, PENALTIES), key=error))


def leave_out(arms: Sequence[Arm]) -> tuple[LeftOut, ...]:
    """Each arm forecast from the others, with terms and penalty chosen on those alone."""
    return tuple(
        LeftOut(
            pipeline=arm.pipeline,
            gain=arm.gain,
            forecast=choose(rest).predict(arm.affinity, arm.added_loss),
            control=statistics.fmean(other.gain for other in rest),
        )
        for arm, rest in without_each(arms)
    )


def without_each(arms: Sequence[Arm]) -> Iterator[tuple[Arm, list[Arm]]]:
    """Each arm, and those that share no transform with it."""
    for arm in arms:
        yield arm, [other for other in arms if not other.transforms & arm.transforms]
