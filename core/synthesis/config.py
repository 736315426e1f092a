"""What is asked of a generator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.common.settings import Name, Seed, Settings
from core.models import MODELS

STEPS, GUIDANCE = 20, 2.0
MOST_IMAGES = 50_000
Steps = Annotated[int, Field(ge=1, le=100)]
Guidance = Annotated[float, Field(ge=0, le=10)]


class SynthesisConfig(Settings):
    checkpoint: Name = "flow_unet"
    """As listed by: python -m core checkpoints."""
    images: Annotated[int, Field(ge=20, le=MOST_IMAGES)] = 2000
    """How many images to make, as many of each class as of any other."""
    steps: Steps = 10
    """Steps from noise to an image."""
    guidance: Guidance = GUIDANCE
    """How strongly to follow the class; 1 is the plain flow, more gives clearer and less varied images."""
    seed: Seed = 0
    """Seeds the noise."""
    model: Literal[tuple(MODELS)] = "flow_unet"  # type: ignore[valid-type]
    """Architecture of the checkpoint, for lists of runs."""
    dataset: Name = "cifar10"
    """What the checkpoint was trained on, for lists of runs."""
    fingerprint: str = ""
    """Of the checkpoint, so that a set of images belongs to just these weights."""
