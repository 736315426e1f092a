"""What is asked of a gallery: optimised images of some channels of one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.settings import List, Name, Seed, Settings
from core.models import MODELS

STEPS = 64
MOST_CHANNELS = 4096
Steps = Annotated[int, Field(ge=8, le=1024)]
Channel = Annotated[int, Field(ge=0, le=99_999)]


class GalleryConfig(Settings):
    checkpoint: Name = "simple_cnn"
    """As listed by: python -m core checkpoints."""
    layer: Name = "relu2"
    """The layer whose channels are shown; the name of the last layer stands for the classes."""
    channels: Annotated[tuple[Channel, ...], List] = tuple(range(16))
    """Which channels."""
    steps: Steps = STEPS
    """Steps of gradient ascent for each image."""
    seed: Seed = 0
    """Seeds the start of each image and its movements."""
    model: Literal[tuple(MODELS)] = "simple_cnn"  # type: ignore[valid-type]
    """Architecture of the checkpoint, for lists of runs."""
    dataset: Name = "cifar10"
    """What the checkpoint was trained on, for lists of runs."""
    fingerprint: str = ""
    """Of the checkpoint, so that a gallery belongs to just these weights."""

    @classmethod
    def of(cls, reference: CheckpointRef, layer: str, channels: Sequence[int], **values: Any) -> GalleryConfig:
        """Of some channels of a checkpoint. values: further fields."""
        card = reference.card
        return cls(
            checkpoint=reference.name,
            layer=layer,
            channels=tuple(channels),
            model=card.model,
            dataset=card.dataset.name,
            fingerprint=card.fingerprint,
            **values,
        )

    @model_validator(mode="after")
    def _check(self) -> GalleryConfig:
        if not 1 <= len(set(self.channels)) <= MOST_CHANNELS or len(set(self.channels)) < len(self.channels):
            raise LabError(f"The channels are not valid: give 1 to {MOST_CHANNELS:,} of them, each once.")
        return self
