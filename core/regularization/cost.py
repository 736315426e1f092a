"""What a study will cost, before it starts: runs, time and disk. Learned from studies on this machine."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from core.common import devices
from core.common.devices import cores
from core.jobs.engine import gpus
from core.jobs.pool import crew_size
from core.models import MODELS
from core.regularization.study import StudyConfig
from core.training.estimate import (
    START_SECONDS,
    augmentation_seconds,
    guessed_speed,
    measured_speed,
    record_speed,
    views,
)

MEASURING = 1.35
"""Evaluations, start-up and the test set cost so much on top of the steps, as seen in a study of `simple_cnn` here."""
RESIDUAL = 1.5
"""A fast_resnet of three convolutions a block costs so much more than one of two."""
BYTES_PER_PARAMETER = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    runs: int
    seconds: float | None
    """None where nothing is known of the device."""
    measured: bool
    """Whether it rests on an earlier study of this model on this machine."""
    size_bytes: int
    """Of the checkpoints that stay."""


def before_start(config: StudyConfig, slots: int) -> tuple[str, int]:
    """The device that a study will run on, and how many runs side by side, as far as one can tell before it starts."""
    shared = max(1, devices.cores() // slots)
    return devices.likely_device(config.device), crew_size(config.runs, config.device, gpus(), shared)


def cost(config: StudyConfig, device: str, at_once: int, done: int = 0) -> Cost:
    """device: `cpu`, `cuda:0`, …; at_once: runs side by side; done: runs that are over already."""
    runs = max(0, config.runs - done)
    speed, measured = _speed(config, device)
    images = runs * config.steps * config.batch_size
    seen, augmented_s = _per_image(config)
    return Cost(
        runs=runs,
        seconds=START_SECONDS + images * (seen / speed + augmented_s) / min(at_once, max(runs, 1)) if speed else None,
        measured=measured,
        size_bytes=runs * MODELS[config.model].parameters * BYTES_PER_PARAMETER,
    )


def remember(config: StudyConfig, device: str, images_per_s: float) -> None:
    """Record the speed of one run beside the others, measuring included, as if no arm had changed the images."""
    seen, augmented_s = _per_image(config)
    plain_s = 1 / images_per_s - augmented_s if images_per_s > 0 else 0.0
    if plain_s > 0:
        record_speed(config.base(), _in_study(device), seen / plain_s)


def _per_image(config: StudyConfig) -> tuple[float, float]:
    """Views that the network sees of an image, and the seconds that changing it takes; means over the runs."""
    runs = [config.train_config(member) for member in config.members()]
    return statistics.fmean(map(views, runs)), statistics.fmean(map(augmentation_seconds, runs))


def _speed(config: StudyConfig, device: str) -> tuple[float | None, bool]:
    base = config.base()
    known = measured_speed(base, _in_study(device))
    if known:
        return known, True
    guess = guessed_speed(base.replace(model_config={}), device)
    if guess is None:
        return None, False
    return guess / cores() / MEASURING / (RESIDUAL if config.model == "fast_resnet" else 1.0), False


def _in_study(device: str) -> str:
    return f"{device}, one thread"
