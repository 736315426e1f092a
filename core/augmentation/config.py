"""A map of transforms: what each does to one checkpoint at several strengths. Importing this needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.common.errors import LabError
from core.common.settings import List, Name, Seed, Settings
from core.models import MODELS
from core.training.augmentation import TRANSFORMS, Pipeline, Step

STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
Images = Annotated[int, Field(ge=10, le=100_000)]


class MapConfig(Settings):
    """What a map measures."""

    checkpoint: Name = "simple_cnn"
    """As listed by: python -m core checkpoints."""
    transforms: Annotated[tuple[str, ...], List] = tuple(TRANSFORMS)
    """Which transforms."""
    strengths: Annotated[tuple[float, ...], List] = STRENGTHS
    """Strengths of those that have one, above 0 and at most 1."""
    images: Images = 2000
    """Test images, for the accuracy."""
    train_images: Images = 500
    """Training images, for the loss."""
    seed: Seed = 0
    """Seeds what each transform draws."""
    model: Literal[tuple(MODELS)] = "simple_cnn"  # type: ignore[valid-type]
    """Architecture of the checkpoint, for lists of runs."""
    dataset: Name = "cifar10"
    """What the checkpoint was trained on, for lists of runs."""
    fingerprint: str = ""
    """Of the checkpoint, so that a map belongs to just these weights."""

    @model_validator(mode="after")
    def _check(self) -> MapConfig:
        unknown = next((name for name in self.transforms if name not in TRANSFORMS), None)
        if unknown is not None:
            raise LabError(f"There is no transform named {unknown[:40]!r}: choose among {', '.join(TRANSFORMS)}.")
        if not self.transforms or len(set(self.transforms)) < len(self.transforms):
            raise LabError("The transforms are not valid: give at least one, each once.")
        wrong = next((value for value in self.strengths if not 0 < value <= 1), None)
        if wrong is not None or not self.strengths or len(set(self.strengths)) < len(self.strengths):
            raise LabError("The strengths are not valid: give numbers above 0 and at most 1, each once.")
        return self

    def pipelines(self, transform: str) -> tuple[Pipeline, ...]:
        """Of one transform: a pipeline of it alone for each strength, weak to strong; always applied."""
        strengths = sorted(self.strengths) if TRANSFORMS[transform].has_strength else [1.0]
        return tuple(Pipeline(steps=(Step(transform=transform, strength=value),)) for value in strengths)

    @property
    def points(self) -> int:
        """How many pipelines it measures."""
        return sum(len(self.pipelines(name)) for name in self.transforms)
