"""Settings of the room's two kinds of runs. Importing this needs no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.common.errors import LabError
from core.common.settings import List, Name, Settings
from core.models import MODELS

MOST_HEADS = 1000


class HeadsConfig(Settings):
    """Measure what each head of a language model does, and what is lost without it."""

    checkpoint: Name = "char_gpt"
    """A language model with attention."""
    characters: Annotated[int, Field(ge=1000, le=10**7)] = 100_000
    """Characters of the validation part that are scored, about."""
    device: Name = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""


class RemoveHeadsConfig(Settings):
    """A checkpoint and the heads that are taken out of it."""

    checkpoint: Name
    """A checkpoint with attention."""
    heads: Annotated[tuple[str, ...], List, Field(min_length=1, max_length=MOST_HEADS)]
    """As `LAYER.HEAD`, both from 0."""
    model: Literal[tuple(MODELS)]  # type: ignore[valid-type]
    """Architecture of the checkpoint."""
    dataset: Name
    """What the checkpoint was trained on."""

    @model_validator(mode="after")
    def _check(self) -> RemoveHeadsConfig:
        for head in self.heads:
            parse_head(head)
        return self

    @property
    def words(self) -> str:
        return f"without {'head' if len(self.heads) == 1 else 'heads'} {', '.join(self.heads)}"


def parse_head(text: str) -> tuple[int, int]:
    """`2.5` to layer 2, head 5. Raises LabError."""
    layer, dot, head = text.partition(".")
    if not dot or not all(part.isascii() and part.isdigit() and len(part) < 5 for part in (layer, head)):
        raise LabError(f"{text[:40]!r} is not a head: write its layer and number from 0, as in 2.5.")
    return int(layer), int(head)


def write_head(layer: int, head: int) -> str:
    return f"{layer}.{head}"


def head_names(model: Any) -> tuple[str, ...]:
    """All heads of a network, layer by layer."""
    from core.models.heads import list_heads

    return tuple(write_head(*head) for head in list_heads(model))
