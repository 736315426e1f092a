"""A map in its worker: transform after transform, each kept as soon as it is there."""

from __future__ import annotations

import time

import torch

from core.augmentation.config import MapConfig
from core.augmentation.effect import EffectMeter
from core.augmentation.results import MAPS, TransformEffects, read_map, transform_folder
from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.common.values import plural
from core.data import load_images
from core.jobs.job import Job, Outcome
from core.training.augmentation import TRANSFORMS


def run_map(config: MapConfig, job: Job) -> Outcome:
    """Do what is missing of a map. Raises Stopped with every finished transform kept, LabError where it cannot be done."""
    total = config.points
    job.update(now=True, total_steps=total, device="cpu", threads=torch.get_num_threads())
    reference = find_checkpoint(config.checkpoint, job.folder.parent)
    if config.fingerprint not in ("", reference.card.fingerprint):
        raise LabError(f"{reference.label[:100]} has changed since this map was asked for: start a new one.")
    name = reference.card.image_data.name
    checkpoint = load_checkpoint(reference)
    job.stage("reading the dataset")
    dataset = load_images(name, job.downloading)
    MAPS.check_data(job.folder, dataset.card.title, dataset.card.content)
    done = {name for name in config.transforms if MAPS.read_part(transform_folder(job.folder, name)) is not None}
    missing = [name for name in config.transforms if name not in done]
    job.stage("answering plain images")
    meter = EffectMeter(checkpoint, dataset, images=config.images, train_images=config.train_images, seed=config.seed)
    MAPS.write_facts(
        job.folder,
        title=reference.label,
        classes=list(dataset.card.classes),
        made=job.provenance(plural(torch.get_num_threads(), "thread")),
    )
    job.stage("")
    before, began, begun_with = job.run.seconds, time.monotonic(), sum(len(config.pipelines(name)) for name in done)
    step = begun_with
    effects = meter.measure_all(
        (pipeline.spec for name in missing for pipeline in config.pipelines(name)), comparisons=total
    )
    for transform in missing:
        found = []
        for _ in config.pipelines(transform):
            found.append(next(effects))
            step += 1
            spent = time.monotonic() - began
            job.update(
                step=step,
                seconds=round(before + spent, 3),
                seconds_left=(total - step) * spent / (step - begun_with),
            )
            job.stop_if_wanted()
        part = TransformEffects(transform=transform, accuracy=meter.accuracy, effects=tuple(found))
        MAPS.write_part(ensure_folder(transform_folder(job.folder, transform)), part)
        done.add(transform)
        job.update(now=True, stage=TRANSFORMS[transform].title, saved_step=step, parts_done=len(done))
    job.update(now=True, step=total, parts_done=len(done), seconds=round(before + time.monotonic() - began, 3))
    return Outcome(status="finished", message=f"{read_map(job.folder, config).answer}.")
