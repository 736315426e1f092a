"""A set of images in its worker: made part after part, each kept as soon as it is there; then measured."""

from __future__ import annotations

import dataclasses
import io
import time
from pathlib import Path

import numpy as np
import torch

from core.checkpoints.store import Card, Checkpoint, find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.paths import ensure_folder, write_atomic
from core.common.values import plural
from core.data import load_images
from core.data.generated import GeneratedCard, write_generated
from core.inference.generator import make_images
from core.jobs.job import Job, Outcome
from core.synthesis.config import SynthesisConfig
from core.synthesis.evidence import class_sheet, measure_set, training_images
from core.synthesis.kind import PART_IMAGES, parts
from core.synthesis.results import SETS, ImageSet

MADE = "images"
MEASURING = 4
"""Measuring counts as much of the progress as this part of the images."""


def labels_of(count: int, classes: int) -> np.ndarray:
    """(count,) int64: the classes in turn, so that any beginning of a set has as many of each."""
    return np.arange(count, dtype=np.int64) % classes


def run_synthesis(config: SynthesisConfig, job: Job) -> Outcome:
    """Do what is missing of a set. Raises Stopped with every finished part kept, LabError where it cannot be done."""
    reference = find_checkpoint(config.checkpoint, job.folder.parent)
    if config.fingerprint not in ("", reference.card.fingerprint):
        raise LabError(f"{reference.label[:100]} has changed since these images were asked for: start a new set.")
    checkpoint = load_checkpoint(reference)
    checkpoint.card.check_task("generation")
    card, total = checkpoint.card, config.images
    measuring = max(1, total // MEASURING)
    job.update(now=True, total_steps=total + measuring, device="cpu", threads=torch.get_num_threads())
    job.stage("reading the dataset")
    dataset = load_images(card.pixel_data.name, job.downloading)
    SETS.check_data(job.folder, dataset.card.title, dataset.card.content)
    labels, began, before = labels_of(total, len(card.pixel_data.classes)), time.monotonic(), job.run.seconds
    made_now = 0
    job.stage("making images")
    for part in range(parts(config)):
        place = slice(part * PART_IMAGES, min(total, (part + 1) * PART_IMAGES))
        path = _part(job.folder, part)
        if not path.is_file():
            _make_part(checkpoint, config, labels[place], place.start, path, job)
            made_now += place.stop - place.start
        spent = time.monotonic() - began
        left = spent / made_now * (total - place.stop) if made_now else None
        seconds = round(before + spent, 3)
        job.update(step=place.stop, saved_step=place.stop, parts_done=part + 1)
        job.update(now=True, seconds=seconds, seconds_left=left)
    images = np.concatenate([np.load(_part(job.folder, part), allow_pickle=False) for part in range(parts(config))])
    per_image = (time.monotonic() - began) / made_now if made_now else None
    _keep(config, job, card, images, labels, len(training_images(card, dataset)))
    result = ImageSet(
        config=config,
        title=card.title,
        done=total,
        seconds_per_image=round(per_image, 4) if per_image else None,
        sheet=class_sheet(images, labels, len(card.pixel_data.classes)),
        classes=card.pixel_data.classes,
    )

    def measured(share: float, words: str) -> None:
        job.update(step=total + int(share * measuring))
        job.stage(words, share)

    found = measure_set(card, images, labels, dataset, measured)
    result = dataclasses.replace(result, **found)  # type: ignore[arg-type]
    SETS.write_part(job.folder, result.to_dict())
    SETS.write_facts(job.folder, made=job.provenance(plural(torch.get_num_threads(), "thread")))
    job.update(now=True, step=total + measuring, seconds=round(before + time.monotonic() - began, 3))
    return Outcome(status="finished", message=f"{result.headline}.")


def _make_part(
    checkpoint: Checkpoint, config: SynthesisConfig, labels: np.ndarray, first: int, path: Path, job: Job
) -> None:
    def told(done: int) -> None:
        job.update(step=first + done)
        job.stop_if_wanted()

    images = make_images(
        checkpoint.model,
        checkpoint.card.pixel_data,
        labels,
        seed=config.seed,
        steps=config.steps,
        guidance=config.guidance,
        first=first,
        on_images=told,
    )
    buffer = io.BytesIO()
    np.save(buffer, images)
    ensure_folder(path.parent)
    write_atomic(path, buffer.getvalue())


def _part(folder: Path, part: int) -> Path:
    return folder / MADE / f"{part:04d}.npy"


def _keep(
    config: SynthesisConfig, job: Job, card: Card, images: np.ndarray, labels: np.ndarray, trained_on: int
) -> None:
    """As a dataset: `generated:<run id>`."""
    write_generated(
        job.run.id,
        images,
        labels,
        GeneratedCard(
            title=f"{config.images:,} images of {card.title}"[:100],
            base=card.pixel_data.name,
            checkpoint=config.checkpoint,
            weights_sha256=card.weights_sha256,
            guidance=config.guidance,
            steps=config.steps,
            seed=config.seed,
            trained_on=trained_on,
            count=config.images,
            user=job.run.user,
        ),
    )


def read_set(folder: Path, config: SynthesisConfig) -> ImageSet:
    """What there is of a set by now. Raises LabError for a run of another kind."""
    if not isinstance(config, SynthesisConfig):
        raise LabError("This run made no set of images: choose one of Synthesis.")
    found = SETS.read_part(folder)
    if found is not None:
        return dataclasses.replace(found, made=SETS.read_facts(folder)["made"])
    done = sum(PART_IMAGES for _ in (folder / MADE).glob("*.npy")) if (folder / MADE).is_dir() else 0
    return ImageSet(config=config, title=config.checkpoint, done=min(done, config.images))
