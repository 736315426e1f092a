"""A measurement in its worker: corruption after corruption, each kept as soon as it is there."""

from __future__ import annotations

import time

import torch

from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.common.values import plural
from core.data import load_images
from core.jobs.job import Job, Outcome
from core.shift.catalogue import CORRUPTIONS
from core.shift.config import ShiftConfig
from core.shift.measure import check_same, draw_images, maker, measure_part
from core.shift.official import official_maker
from core.shift.results import CLEAN, MEASUREMENTS, part_folder, read_measurement

STEPS = 100
"""Per corruption, in which progress is counted."""


def run_shift(config: ShiftConfig, job: Job) -> Outcome:
    """Do what is missing of a measurement. Raises Stopped with every finished corruption kept, LabError where it cannot be
    done."""
    names = (CLEAN, *config.corruptions)
    total = STEPS * len(names)
    job.update(now=True, total_steps=total, device="cpu", threads=torch.get_num_threads())
    references = [find_checkpoint(name, job.folder.parent) for name in config.checkpoints]
    for reference, fingerprint in zip(references, config.fingerprints):
        if reference.card.fingerprint != fingerprint:
            raise LabError(f"{reference.label[:100]} has changed since this was asked for: start a new measurement.")
    checkpoints = [load_checkpoint(reference) for reference in references]
    check_same(checkpoints)
    job.stage("reading the dataset")
    dataset = load_images(references[0].card.image_data.name, job.downloading)
    MEASUREMENTS.check_data(job.folder, dataset.card.title, dataset.card.content)
    numbers = draw_images(dataset, config.images, config.seed)
    make = official_maker(dataset) if config.files == "official" else maker(dataset.test.images, config.seed)
    MEASUREMENTS.write_facts(job.folder, titles=[reference.label for reference in references])
    missing = [name for name in names if MEASUREMENTS.read_part(part_folder(job.folder, name)) is None]
    before, began = job.run.seconds, time.monotonic()
    for place, name in enumerate(missing):
        done = len(names) - len(missing) + place

        def show(share: float, done: int = done, place: int = place, name: str = name) -> None:
            spent = time.monotonic() - began
            left = spent * (len(missing) - place - share) / (place + share) if place else None
            job.update(
                step=int(STEPS * (done + share)),
                saved_step=STEPS * done,
                parts_done=done,
                seconds=round(before + spent, 3),
                seconds_left=left,
            )
            job.stage("clean images" if name == CLEAN else CORRUPTIONS[name].title)

        part = measure_part(checkpoints, dataset.test, numbers, name, make, show)
        MEASUREMENTS.write_part(ensure_folder(part_folder(job.folder, name)), part)
        job.update(now=True, step=STEPS * (done + 1), saved_step=STEPS * (done + 1), parts_done=done + 1)
    MEASUREMENTS.write_facts(job.folder, made=job.provenance(plural(torch.get_num_threads(), "thread")))
    job.update(now=True, step=total, parts_done=len(names), seconds=round(before + time.monotonic() - began, 3))
    return Outcome(status="finished", message=f"{read_measurement(job.folder, config).answer()}.")
