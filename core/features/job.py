"""A gallery in its worker: some channels at once, each kept as soon as it is there."""

from __future__ import annotations

import time

import torch

from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.common.values import plural
from core.data import load_images
from core.features.config import GalleryConfig
from core.features.results import GALLERIES, unit_folder
from core.features.source import source_of
from core.features.unit import study_units
from core.features.units import find_layer
from core.jobs.job import Job, Outcome

STEPS = 100
"""Per channel, in which progress is counted."""


def run_gallery(config: GalleryConfig, job: Job) -> Outcome:
    """Do what is missing of a gallery. Raises Stopped with every finished channel kept, LabError where it cannot be done."""
    total = STEPS * len(config.channels)
    job.update(now=True, total_steps=total, device="cpu", threads=torch.get_num_threads())
    reference = find_checkpoint(config.checkpoint, job.folder.parent)
    if config.fingerprint not in ("", reference.card.fingerprint):
        raise LabError(f"{reference.label[:100]} has changed since this gallery was asked for: start a new one.")
    checkpoint = load_checkpoint(reference)
    find_layer(checkpoint, config.layer, max(config.channels))
    job.stage("reading the dataset")
    test = load_images(source_of(reference.card).dataset, job.downloading).test
    missing = [item for item in config.channels if GALLERIES.read_part(unit_folder(job.folder, item)) is None]
    done, before, began = len(config.channels) - len(missing), job.run.seconds, time.monotonic()

    def show(share: float, words: str) -> None:
        spent = time.monotonic() - began
        left = spent * (1 - share) / share if share else None
        step = max(STEPS * done, int(total - STEPS * len(missing) * (1 - share)))
        job.update(step=step, saved_step=STEPS * done, seconds=round(before + spent, 3), seconds_left=left)
        job.stage(words)

    if missing:
        for unit in study_units(
            checkpoint, config.layer, missing, test, steps=config.steps, seed=config.seed, on_progress=show
        ):
            GALLERIES.write_part(ensure_folder(unit_folder(job.folder, unit.channel)), unit)
            done += 1
            job.update(now=True, step=STEPS * done, saved_step=STEPS * done, parts_done=done)
    GALLERIES.write_facts(job.folder, made=job.provenance(plural(torch.get_num_threads(), "thread")))
    seconds = round(before + time.monotonic() - began, 3)
    job.update(now=True, step=total, parts_done=len(config.channels), seconds=seconds)
    return Outcome(status="finished", message=f"{plural(len(config.channels), 'channel')} of {config.layer}.")
