"""Checkpoints that a run keeps on its way, so that one can see how it learned: `<run>/epochs/<epoch>`, named `<run id>/epoch-3`.

Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from core.checkpoints.store import CARD, EPOCHS, Card, read_card
from core.common.errors import LabError
from core.common.paths import write_atomic


def kept_steps(count: int, total_steps: int, eval_every: float) -> frozenset[int]:
    """The steps whose evaluation leaves a snapshot: `count` of them, or all there are, spread evenly between the untrained
    network and the last evaluation. These two are not among them: the one is always kept, the other is the run's `last`.

    eval_every: steps between evaluations, at least 1, maybe a fraction. They depend on nothing else, so that a resumed run
    keeps the same ones.
    """
    before_end = int(total_steps / eval_every)
    if round(before_end * eval_every) >= total_steps:
        before_end -= 1
    numbers = (round(place * (before_end + 1) / (count + 1)) for place in range(1, count + 1))
    return frozenset(round(number * eval_every) for number in numbers if 0 < number <= before_end)


def snapshot_folder(folder: Path, epoch: float) -> Path:
    """Where a run's folder has the snapshot of an epoch: `3`, or `0_25`, because a checkpoint's name has no dots."""
    return folder / EPOCHS / f"{round(epoch, 4):.10g}".replace(".", "_")


def epoch_title(epoch: float) -> str:
    """What people call it: `epoch 3`."""
    return f"epoch {round(epoch, 2):g}"


def snapshots(folder: Path) -> list[tuple[Path, Card]]:
    """The snapshots in a run's folder with their cards, in the order of training. Damaged ones are left out."""
    found = []
    for item in (folder / EPOCHS).glob("*"):
        try:
            card = read_card(item)
        except LabError:
            continue
        if item == snapshot_folder(folder, card.epoch):  # else no name would lead to it
            found.append((item, card))
    return sorted(found, key=lambda pair: pair[1].step)


def keep_until(folder: Path, step: int) -> None:
    """Remove the snapshots after a step, which a run that goes on from there makes again, and the damaged ones."""
    kept = {item for item, card in snapshots(folder) if card.step <= step}
    for item in (folder / EPOCHS).glob("*"):
        if item not in kept:
            shutil.rmtree(item, ignore_errors=True)


def names_of(run_id: str, folder: Path) -> dict[str, float]:
    """Names of the checkpoints that show how a run learned, and their epochs, ascending: the untrained network, those on the
    way, and the last state. Empty for a run that keeps no snapshots; damaged ones are left out.

    folder: the run's own.
    """
    names = {f"{run_id}/epoch-{item.name}": card.epoch for item, card in snapshots(folder)}
    try:
        last = read_card(folder / "last").epoch
    except LabError:
        return names
    if names and last > max(names.values()):
        names[f"{run_id}/last"] = last
    return names


def checkpoint_title(name: str, which: str) -> str:
    return name if which == "best" else f"{name} ({which})"


def title_checkpoints(folder: Path, name: str) -> None:
    """Bring the titles of a run's checkpoints up to date with its name. Call only while no other process writes the run."""
    found = [(folder / which, which) for which in ("best", "last") if (folder / which / CARD).is_file()]
    titled = [(item, read_card(item), checkpoint_title(name, which)) for item, which in found]
    titled += [(item, card, checkpoint_title(name, epoch_title(card.epoch))) for item, card in snapshots(folder)]
    for item, card, title in titled:
        if card.title != title:
            write_atomic(item / CARD, dataclasses.replace(card, title=title).to_json())
