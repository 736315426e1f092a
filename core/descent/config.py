"""What a surface is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.common.errors import LabError
from core.common.settings import List, Name, Seed, Settings


class SurfaceConfig(Settings):
    checkpoints: Annotated[tuple[Name, ...], List] = ("simple_cnn",)
    """One checkpoint, or two that are shown side by side on one scale."""
    directions: Literal["random", "path"] = "random"
    """`random`: two random directions, each filter as long as the network's own (arXiv:1712.09913); `path`: the two principal
    directions of the run's own movement, for a run that kept snapshots."""
    points: Annotated[int, Field(ge=5, le=51)] = 25
    """Points along each side of the plane."""
    extent: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Random directions: half the side of the plane; at 1 each filter moves by its own length."""
    images: Annotated[int, Field(ge=10, le=50_000)] = 500
    """Images that the loss is the mean of: a fixed sample, the same for all points."""
    split: Literal["train", "validation"] = "train"
    """Where the images are from: `train` is what training went down on, `validation` what it never saw."""
    seed: Seed = 0
    """Seeds the directions and the sample."""
    device: Name = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""

    @model_validator(mode="after")
    def _check(self) -> SurfaceConfig:
        if not 1 <= len(self.checkpoints) <= 2:
            raise LabError("A surface has one or two checkpoints: choose one, or two to compare.")
        if self.directions == "path" and len(self.checkpoints) > 1:
            raise LabError("The directions of a path belong to one run: choose one checkpoint, or random directions.")
        return self
