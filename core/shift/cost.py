"""How long a measurement takes, out of what corrupting and answering an image cost."""

from __future__ import annotations

from collections.abc import Sequence

from core.common.devices import cores
from core.data import dataset_sizes
from core.inference.cost import processor_seconds, trial_images
from core.shift.catalogue import CORRUPTIONS, SEVERITIES
from core.shift.config import ShiftConfig
from core.training.estimate import START_SECONDS

MIDDLE = 3
"""Severity at which a corruption is tried."""


def corrupt_seconds(side: int) -> dict[str, float]:
    """Processor seconds that each corruption takes of an image of that many pixels, measured."""
    from core.shift.corruptions import corrupt

    images, found = trial_images(side), {}
    for name in CORRUPTIONS:
        corrupt(images[:1], name, MIDDLE)
        found[name] = processor_seconds(lambda name=name: corrupt(images, name, MIDDLE)) / len(images)  # type: ignore[misc]
    return found


def measurement_seconds(config: ShiftConfig, corrupt_s: dict[str, float], answers_s: Sequence[float]) -> float:
    """Seconds of a measurement. corrupt_s: of an image by corruption, of which official files need none; answers_s: of each
    checkpoint for an image; all of one thread.

    One thread corrupts, then all cores answer. Raises LabError for a dataset that is gone.
    """
    images = min(config.images, dataset_sizes(config.dataset).get("test") or config.images)
    made = 0.0 if config.files == "official" else len(SEVERITIES) * sum(corrupt_s[name] for name in config.corruptions)
    answered = (1 + len(SEVERITIES) * len(config.corruptions)) * sum(answers_s) / cores()
    return START_SECONDS + images * (made + answered)
