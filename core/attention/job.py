"""Measuring the heads of a language model in a worker: group of windows after group, each kept as soon as it is there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.attention.config import HeadsConfig, write_head
from core.attention.removal import without_heads
from core.attention.results import LOSSES, MOST_REMOVED, REPORTS, HeadReport, HeadWorth, Joint
from core.attention.roles import measure_roles, name_head, role_characters
from core.attention.text import require_text_attention
from core.attention.worth import cheapest, cost, head_losses, joint_losses, make_windows
from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint
from core.common.devices import pick_device
from core.common.paths import write_atomic
from core.common.values import plural, read_json
from core.data import load_text
from core.jobs.job import Job, Outcome
from core.models.heads import list_heads


def measure_heads(config: HeadsConfig, job: Job) -> Outcome:
    """Do what is missing. Raises Stopped with every finished group kept, LabError where it cannot be done."""
    device = pick_device(config.device)
    reference = find_checkpoint(config.checkpoint)
    require_text_attention(reference.card)
    job.stage("reading the text")
    dataset = load_text(reference.card.text_data.name, job.downloading)
    checkpoint = load_checkpoint(reference, device)
    tokens = dataset.validation
    model: Any = checkpoint.model
    text_windows, scored = make_windows(tokens, model.config.context, config.characters)
    began, before = time.monotonic(), job.run.seconds
    count = len(list_heads(model))
    losses = _read(job.folder / LOSSES, reference.card.fingerprint, count)
    job.update(
        now=True, total_steps=len(text_windows), step=len(losses), device=device, threads=torch.get_num_threads()
    )
    job.interruptible = False
    job.stage(f"leaving out each of {count} heads in turn")
    fresh, begun_with = time.monotonic(), len(losses)
    for group in head_losses(model, text_windows, scored, len(losses)):
        losses = np.concatenate([losses, group])
        write_atomic(
            job.folder / LOSSES,
            json.dumps({"fingerprint": reference.card.fingerprint, "losses": losses.tolist()}),
        )
        each = (time.monotonic() - fresh) / (len(losses) - begun_with)
        job.update(
            now=True,
            step=len(losses),
            saved_step=len(losses),
            seconds=round(before + time.monotonic() - began, 3),
            seconds_left=(len(text_windows) - len(losses)) * each,
        )
        job.stop_if_wanted()
    job.stage("removing the cheapest heads together, and naming all")
    report = build_report(checkpoint, reference.label, tokens, text_windows, scored, losses)
    REPORTS.write_part(job.folder, report)
    REPORTS.write_facts(job.folder, made=job.provenance(plural(torch.get_num_threads(), "thread")))
    job.update(now=True, step=len(text_windows), seconds=round(before + time.monotonic() - began, 3))
    return Outcome(status="finished", message=report.answer)


def build_report(
    checkpoint: Checkpoint, title: str, tokens: np.ndarray, text_windows: np.ndarray, scored: int, losses: np.ndarray
) -> HeadReport:
    """losses: (N, 1 + heads) of `head_losses`, bits."""
    model: Any = checkpoint.model
    heads = list_heads(model)
    costs = [cost(losses[:, 0], losses[:, 1 + place]) for place in range(len(heads))]
    trained, untrained = measure_roles(checkpoint, tokens)
    rows = []
    for place, ((layer, head), (bits, half)) in enumerate(zip(heads, costs, strict=True)):
        shares = {name: float(values[place]) for name, values in trained.items()}
        role = name_head(shares, untrained)
        rows.append(HeadWorth(layer=layer, head=head, cost_bits=bits, half_width=half, shares=shares, role=role))
    # Chosen on half of the windows and priced on the others: those that chose the cheapest would flatter them.
    choosing = [cost(losses[::2, 0], losses[::2, 1 + place])[0] for place in range(len(heads))]
    order = cheapest(
        list(zip(heads, choosing, strict=True)),
        [block.attention.heads for block in model.blocks],
        MOST_REMOVED,
    )
    sets = [order[:count] for count in range(1, len(order) + 1)]
    names = [tuple(write_head(*head) for head in chosen) for chosen in sets]
    smaller = [
        (without_heads(checkpoint, each).model, min(layer for layer, _ in chosen))
        for each, chosen in zip(names, sets, strict=True)
    ]
    together = joint_losses(model, smaller, text_windows[1::2], scored)
    joint = []
    for place, each in enumerate(names):
        bits, half = cost(losses[1::2, 0], together[:, place])
        joint.append(Joint(heads=each, cost_bits=bits, half_width=half))
    return HeadReport(
        checkpoint=checkpoint.name,
        fingerprint=checkpoint.card.fingerprint,
        title=title,
        dataset=checkpoint.card.dataset.title,
        characters=len(text_windows) * scored,
        bits_per_character=float(losses[:, 0].mean()),
        heads=tuple(rows),
        untrained=untrained,
        joint=tuple(joint),
        role_characters=role_characters(model, tokens),
    )


def _read(path: Path, fingerprint: str, heads: int) -> np.ndarray:
    """(N, 1 + heads) of the groups that are done; none where they are of another network."""
    try:
        values = read_json(path.read_bytes())
        found = np.array(values["losses"], dtype=np.float32)
        fits = values["fingerprint"] == fingerprint and found.shape[1:] == (1 + heads,) and np.isfinite(found).all()
    except (OSError, ValueError, LookupError, TypeError):
        fits = False
    return found if fits else np.zeros((0, 1 + heads), np.float32)
