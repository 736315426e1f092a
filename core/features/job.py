"""A gallery in its worker: channel after channel, each kept as soon as it is there."""

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
from core.features.unit import study_unit
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
    test = load_images(reference.card.image_data.name, job.downloading).test
    missing = [item for item in config.channels if GALLERIES.read_part(unit_folder(job.folder, item)) is None]
    before, began = job.run.seconds, time.monotonic()
    for place, channel in enumerate(missing):
        done = len(config.channels) - len(missing) + place

        def show(share: float, words: str, done: int = done, place: int = place) -> None:
            spent = time.monotonic() - began
            left = spent * (len(missing) - place - share) / (place + share) if place else None
            step = int(STEPS * (done + share))
            seconds = round(before + spent, 3)
            job.update(step=step, saved_step=STEPS * done, parts_done=done, seconds=seconds, seconds_left=left)
            job.stage(words)

        unit = study_unit(
            checkpoint, config.layer, channel, test, steps=config.steps, seed=config.seed, on_progress=show
        )
        GALLERIES.write_part(ensure_folder(unit_folder(job.folder, channel)), unit)
        job.update(now=True, step=STEPS * (done + 1), saved_step=STEPS * (done + 1), parts_done=done + 1)
    GALLERIES.write_facts(job.folder, made=job.provenance(plural(torch.get_num_threads(), "thread")))
    seconds = round(before + time.monotonic() - began, 3)
    job.update(now=True, step=total, parts_done=len(config.channels), seconds=seconds)
    return Outcome(status="finished", message=f"{plural(len(config.channels), 'channel')} of {config.layer}.")
