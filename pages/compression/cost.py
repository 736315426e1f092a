"""What a recipe will take, in words, before it starts."""

from __future__ import annotations

from core.common.devices import likely_device
from core.compression.recipe import CompressConfig
from core.compression.steps import Distill, TrainingStep
from core.training.config import TrainConfig
from core.training.estimate import estimate_seconds
from pages.shared.text import duration
from pages.shared.train_view import training_examples


def cost_line(config: CompressConfig) -> str:
    """Variants, epochs and time, in Markdown."""
    count = len(config.variants())
    variants = "**1 variant**, measured" if count == 1 else f"**{count} variants**, each measured"
    parts = [f"{variants} as it is made"]
    trainings = _trainings(config)
    if not trainings:
        return f"{parts[0]} · nothing is trained: about a minute a variant, most of it measuring."
    epochs = sum(training.epochs for training in trainings)
    parts.append(f"trains for {epochs:g} {'epoch' if epochs == 1 else 'epochs'} in all")
    seconds = _seconds(config, trainings)
    parts.append(
        "minutes, maybe many: unknown until it was measured here"
        if seconds is None
        else f"about **{duration(seconds)}** of training, roughly, and a minute a variant to measure"
    )
    return " · ".join(parts) + "."


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
    examples, device = training_examples(config.base()), likely_device(config.device)
    known = [estimate_seconds(training, device, examples) for training in trainings] if examples else [None]
    return None if None in known else sum(seconds or 0.0 for seconds in known)
