"""What is asked of a measurement: which checkpoints, which corruptions, on how many test images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from core.common.errors import LabError
from core.common.settings import List, Name, Seed, Settings
from core.models import MODELS
from core.shift.catalogue import COMMON, CORRUPTIONS

MOST_CHECKPOINTS = 12
IMAGES = 2000


class ShiftConfig(Settings):
    """Raises LabError for a corruption that there is not, or a checkpoint that is given twice."""

    checkpoints: Annotated[tuple[Name, ...], List] = ("simple_cnn",)
    """As listed by: python -m core checkpoints. All answer the same images; the first is what the others are compared with."""
    corruptions: Annotated[tuple[str, ...], List] = COMMON
    """Which corruptions, each at five severities. The mean is over the fifteen common ones."""
    images: Annotated[int, Field(ge=1, le=1_000_000)] = IMAGES
    """Test images, drawn at random; all of them where there are fewer."""
    files: Literal["recomputed", "official"] = "recomputed"
    """`recomputed`, or `official`: the files of CIFAR-10-C, where they are on this machine."""
    seed: Seed = 0
    """Draws the images, and seeds the corruptions."""
    model: Literal[tuple(MODELS)] = "simple_cnn"  # type: ignore[valid-type]
    """Architecture of the first checkpoint, for lists of runs."""
    dataset: Name = "cifar10"
    """What the checkpoints were trained on, for lists of runs."""
    fingerprints: Annotated[tuple[str, ...], List] = ()
    """Of the checkpoints, so that a measurement belongs to just these weights."""

    @field_validator("checkpoints")
    @classmethod
    def _check_checkpoints(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not 1 <= len(names) <= MOST_CHECKPOINTS or len(set(names)) < len(names):
            raise LabError(f"Choose 1 to {MOST_CHECKPOINTS} checkpoints, each once.")
        return names

    @field_validator("corruptions")
    @classmethod
    def _check_corruptions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = next((name for name in names if name not in CORRUPTIONS), None)
        if unknown is not None:
            raise LabError(f"There is no corruption named {unknown[:40]!r}: choose among {', '.join(CORRUPTIONS)}.")
        if not names:
            raise LabError("No corruption is chosen: choose at least one.")
        return tuple(name for name in CORRUPTIONS if name in names)
