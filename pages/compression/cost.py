"""What a recipe will take, in words, before it starts."""

from __future__ import annotations

from core.common.devices import likely_device
from core.compression.recipe import CompressConfig
from core.compression.steps import Distill, TrainingStep
from core.training.config import TrainConfig
from core.training.estimate import estimate_seconds
from pages.shared.text import UNBROKEN, duration
from pages.shared.train_form import examples_of

MEASURE_S = (20.0, 90.0)
"""Least and most seconds to measure one variant. An int8 recipe took 20 s (Simple CNN) and 30 s (Fast ResNet) on two EPYC
cores, the original included; the slowest machine that we had takes three times as long."""
TRAINING = (0.7, 2.0)
"""Least and most of the estimated time of training: the machine may do other work, and a teacher computes beside it."""


def cost_line(config: CompressConfig) -> str:
    """Variants, epochs and a range of the time of all, in Markdown."""
    count = len(config.variants())
    trainings = _trainings(config)
    epochs = sum(training.epochs for training in trainings)
    parts = [f"**{count} {'variant' if count == 1 else 'variants'}**"]
    parts.append(f"{epochs:g} {'epoch' if epochs == 1 else 'epochs'} of training" if trainings else "no training")
    seconds = _seconds(config, trainings)
    if seconds is None:
        parts.append("time unknown until it was measured here")
    else:
        low, high = (factor * seconds + count * each for factor, each in zip(TRAINING, MEASURE_S, strict=True))
        parts.append(f"**{time_range(low, high)}**".replace(" ", UNBROKEN))
    return ", ".join(parts) + "."


def time_range(low: float, high: float) -> str:
    """Two lengths of time, in whole minutes, or five from twenty on: `30 s to 2 min`, `6 to 20 min`."""
    steps = [(s, 1 if s < 60 else 60 if s < 1200 else 300) for s in (low, high)]
    first, last = (duration(step * round(s / step)) for s, step in steps)
    number, _, unit = first.partition(" ")
    return f"{number if last.endswith(f' {unit}') and last.count(' ') == 1 else first} to {last}"


def _trainings(config: CompressConfig) -> list[TrainConfig]:
    """The trainings of a recipe as far as time goes."""
    base, found = config.base(), []
    for step in config.parsed():
        if isinstance(step, Distill):
            found += [base.replace(model=step.student, epochs=step.epochs)] * (2 * step.seeds)
        elif isinstance(step, TrainingStep):
            found.append(base.replace(epochs=step.epochs))
    return found


def _seconds(config: CompressConfig, trainings: list[TrainConfig]) -> float | None:
    if not trainings:
        return 0.0
    examples, device = examples_of(config.base()), likely_device(config.device)
    known = [estimate_seconds(training, device, examples) for training in trainings] if examples else [None]
    return None if None in known else sum(seconds or 0.0 for seconds in known)
