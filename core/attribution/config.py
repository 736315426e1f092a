"""What is asked of a run that scores methods over many test images of one checkpoint."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from core.attribution.baselines import DEFAULT_BASELINE, check_baseline
from core.attribution.evidence.scores import MOST_IMAGES
from core.attribution.methods.registry import METHODS, QUICK, get_method
from core.common.errors import LabError
from core.common.settings import List, Name, Seed, Settings
from core.training.config import Device


def _check_baseline(name: str) -> str:
    check_baseline(name)
    return name


class ScoresConfig(Settings):
    """Methods to be scored. Raises LabError for a method that there is not."""

    checkpoint: Name
    """Name of the checkpoint, as `core.checkpoints.store.find_checkpoint` takes it. It is only read."""
    methods: Annotated[tuple[str, ...], List] = QUICK
    """Methods to be scored; those that the network does not support are left out, and the report says why."""
    images: Annotated[int, Field(ge=2, le=MOST_IMAGES)] = 50
    """Test images, drawn at random. Four times as many halve the intervals."""
    sensitivity_images: Annotated[int, Field(ge=0, le=MOST_IMAGES)] = 5
    """Of the first so many images max-sensitivity is measured, too: five more maps by every method."""
    baseline: Annotated[str, AfterValidator(_check_baseline)] = DEFAULT_BASELINE
    """Image with nothing in it that methods compare with."""
    seed: Seed = 0
    """Decides which images are drawn, and seeds methods that draw random numbers."""
    model: str = ""
    """Architecture of the checkpoint, and what it was trained on: for lists of runs."""
    dataset: Name = "cifar10"
    device: Device = "auto"
    """Where the network runs."""

    @field_validator("methods")
    @classmethod
    def _check_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        if not methods:
            raise LabError("No method is chosen: choose at least one.")
        for name in methods:
            get_method(name)
        return tuple(name for name in METHODS if name in methods)
