"""How long a set of images takes to make and to compare, out of what one step of each costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.checkpoints.store import Checkpoint
from core.common.devices import cores
from core.data import dataset_sizes
from core.inference.cost import answer_seconds, processor_seconds, trial_images
from core.inference.generator import make_images
from core.synthesis.config import SynthesisConfig
from core.synthesis.copies import as_rows, nearest_training_images
from core.synthesis.distance import load_judge
from core.synthesis.evidence import MOST_HELD_OUT
from core.training.estimate import START_SECONDS

TRIAL = 16
"""Images that are made."""
ASKED, KNOWN = 256, 1024
"""Images that are compared with so many others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCosts:
    """Measured processor seconds of one thread."""

    velocity_s: float
    """To ask the generator once for the velocity of one image."""
    answer_s: float
    """To compute the judge's features of one image."""
    pair_s: float
    """To compare the pixels of two images."""


def step_costs(generator: Checkpoint) -> StepCosts:
    """Raises LabError where the judge cannot be read."""
    card = generator.card.pixel_data
    classes = np.arange(TRIAL) % len(card.classes)

    def make() -> None:
        make_images(generator.model, card, classes, seed=0, steps=1, guidance=1.0)

    rows = as_rows(trial_images(card.image_size, KNOWN))

    def compare() -> None:
        nearest_training_images((rows[:ASKED],), rows)

    make()
    compare()
    return StepCosts(
        velocity_s=processor_seconds(make) / TRIAL,
        answer_s=answer_seconds(load_judge()),
        pair_s=processor_seconds(compare) / (ASKED * KNOWN),
    )


def velocities(config: SynthesisConfig) -> int:
    """How often the generator is asked for one image: twice a step but for the last, and twice of each with guidance."""
    return (2 * config.steps - 1) * (1 if config.guidance in (0.0, 1.0) else 2)


def set_seconds(config: SynthesisConfig, costs: StepCosts) -> tuple[float, float]:
    """Seconds to make a set, and at most to compare it with real images: features of the training images are kept, so that a
    second set needs less. Raises LabError for a dataset that is gone."""
    making = config.images * velocities(config) * costs.velocity_s
    sizes = dataset_sizes(config.dataset)
    train, real = sizes.get("train", 0), sizes.get("test") or sizes.get("validation", 0)
    half, held_out = min(config.images, real // 2), min(MOST_HELD_OUT, real)
    asked = 2 * (config.images + held_out)  # with their mirror images
    answers = train + 3 * half + config.images + held_out + asked
    comparing = answers * costs.answer_s + asked * train * costs.pair_s
    return START_SECONDS + making / cores(), comparing / cores()
