"""A network without some of its heads, as a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from core.attention.config import RemoveHeadsConfig, parse_head
from core.attention.kind import REMOVE_HEADS
from core.checkpoints.child import child_checkpoint
from core.checkpoints.store import Checkpoint, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.jobs import RunStore
from core.jobs.instant import record_finished
from core.jobs.job import Job, Outcome
from core.models import clone_model
from core.models.heads import attention_layers, head_numbers, keep_heads


def without_heads(checkpoint: Checkpoint, heads: Sequence[str]) -> Checkpoint:
    """The smaller network. heads: `LAYER.HEAD` each, layers in the network's order, heads by their number in the whole network.

    Raises LabError for a network without attention, a head that there is not, and where a layer would have none left.
    """
    model = clone_model(checkpoint.model)
    layers = list(attention_layers(model).values())
    if not layers:
        raise LabError(f"{checkpoint.card.title[:100]} has no attention heads: choose a Transformer.")
    removed = [parse_head(head) for head in dict.fromkeys(heads)]
    for layer, head in removed:
        numbers = head_numbers(layers[min(layer, len(layers) - 1)])
        if layer >= len(layers) or head not in numbers:
            whole = numbers == tuple(range(len(numbers)))
            there = f"0 to {numbers[-1]}" if whole else ", ".join(map(str, numbers))
            raise LabError(
                f"There is no head {layer}.{head}: this network has layers 0 to {len(layers) - 1}, and heads {there} there."
            )
    for number, attention in enumerate(layers):
        kept = [place for place, head in enumerate(head_numbers(attention)) if (number, head) not in removed]
        if not kept:
            raise LabError(f"Layer {number} would have no head left: keep at least one.")
        if len(kept) < attention.heads:
            keep_heads(attention, kept)
    notes = f"{checkpoint.card.notes} Heads removed: {', '.join(heads)}.".strip()
    return child_checkpoint(checkpoint, model, notes=notes)


def save_without(config: RemoveHeadsConfig, name: str | None = None, *, user: str = "") -> str:
    """Keep the smaller network as a finished run, which lists and pages find under its id; returns that, or the id of the
    one that is there already. Raises LabError."""
    return find_without(config) or record_finished(
        config, REMOVE_HEADS.name, name, f"Saved {config.words}.", partial(_write, config), user=user
    )


def find_without(config: RemoveHeadsConfig) -> str | None:
    """Id of the run that keeps this same network already. Raises LabError where it could not be made either."""
    wanted = None
    for run in RunStore().list():
        other = run.config
        if not isinstance(other, RemoveHeadsConfig) or run.status != "finished":
            continue
        if other.checkpoint != config.checkpoint or set(other.heads) != set(config.heads):
            continue
        wanted = wanted or without_heads(load_checkpoint(config.checkpoint), config.heads).model.state_dict()
        try:
            there = load_checkpoint(run.id).model.state_dict()
        except LabError:
            continue
        # The parent may have been trained on since.
        if all(name in there and there[name].equal(value) for name, value in wanted.items()):
            return run.id
    return None


def run_removal(config: RemoveHeadsConfig, job: Job) -> Outcome:
    """The same in a worker, for a run that was interrupted before it was saved."""
    _write(config, job.folder, job.name)
    return Outcome(status="finished", message=f"Saved {config.words}.")


def _write(config: RemoveHeadsConfig, folder: Path, title: str) -> None:
    made = without_heads(load_checkpoint(config.checkpoint), config.heads)
    save_checkpoint(folder / "best", made.model, dataclasses.replace(made.card, title=title))
