"""How every method hands back what it made: a new checkpoint whose card names its parent and what was done."""

from __future__ import annotations

from typing import Any

from torch import nn

from core.checkpoints.child import child_checkpoint as child_of
from core.checkpoints.store import Checkpoint
from core.compression.steps import Step


def child_checkpoint(
    checkpoint: Checkpoint, model: nn.Module, step: Step, *, storage: str = "float32", **card: Any
) -> Checkpoint:
    """A checkpoint made from another by one step. model: the new network, on its own memory. storage: how its file will hold
    the weights. card: further fields to set."""
    done = dict(checkpoint.card.compression) or {"original": checkpoint.name, "steps": []}
    done["steps"] = [*done["steps"], step.to_dict()]
    return child_of(checkpoint, model, storage=storage, compression=done, **card)
