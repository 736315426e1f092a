"""A grid in its worker: heat after heat, each kept as soon as it is there, then the roofline."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoints.store import Card, Checkpoint, find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.common.values import plural
from core.data import load_images
from core.data.dataset import ImageDataset, Split
from core.hardware.config import HardwareConfig
from core.hardware.estimate import cell_seconds
from core.hardware.machine import Machine, read_machine
from core.hardware.measure import Heat, heat_size, heats, onnx_files, run_roofline
from core.hardware.networks import Spec
from core.hardware.recommend import answer
from core.hardware.results import GRIDS, ROOFLINE, part_folder, read_grid
from core.hardware.setups import Setup
from core.jobs.job import Job, Outcome

WORK = "work"
"""Folder of what the processes read, removed at the end."""
TRAIN_IMAGES = 4096


def run_hardware(config: HardwareConfig, job: Job) -> Outcome:
    """Do what is missing of a grid. Raises Stopped with every finished heat kept, LabError where it cannot be done."""
    reference = find_checkpoint(config.checkpoint, job.folder.parent)
    if config.fingerprint and reference.card.fingerprint != config.fingerprint:
        raise LabError(f"{reference.label[:100]} has changed since this was asked for: start a new grid.")
    total = config.parts
    job.update(now=True, total_steps=total, device=config.devices[0], threads=max(config.threads))
    machine = _same_machine(job, config)
    job.stage("reading the dataset")
    dataset = load_images(reference.card.image_data.name, job.downloading)
    GRIDS.check_data(job.folder, dataset.card.title, dataset.card.content)
    GRIDS.write_facts(job.folder, title=reference.label, machine=dataclasses.asdict(machine))
    work = ensure_folder(job.folder / WORK)
    specs = Specs(config, load_checkpoint(reference), reference.folder, dataset, work, job)
    before, began = job.run.seconds, time.monotonic()
    missing = [setup for setup in config.setups if GRIDS.read_part(part_folder(job.folder, setup.id)) is None]
    for at, (base, cells) in enumerate(plan := heats(missing, config, heat_size())):
        left = sum(cell_seconds(setup, config) for its, others in plan[at:] for setup in (its, *others))
        done = len(config.setups) - len(missing)
        job.update(step=done, saved_step=done, parts_done=done, seconds=_spent(before, began), seconds_left=left)
        heat = Heat(config, machine, work, specs.spec, _poll(job, before, began), job.stage)
        for row in heat.run(base, cells):
            if row.setup in missing:  # a reference that is known already stays what it was
                GRIDS.write_part(ensure_folder(part_folder(job.folder, row.setup.id)), row)
                missing.remove(row.setup)
    _roofline(config, job, reference.folder)
    GRIDS.write_facts(job.folder, made=job.provenance(plural(max(config.threads), "thread")))
    shutil.rmtree(work, ignore_errors=True)
    job.update(now=True, step=total, saved_step=total, parts_done=total, seconds=_spent(before, began))
    return Outcome(status="finished", message=f"{answer(read_grid(job.folder, config), config.works[0])}.")


def _same_machine(job: Job, config: HardwareConfig) -> Machine:
    """Raises LabError where a grid would go on somewhere else, or asks for a device that is not here."""
    machine = read_machine()
    known = GRIDS.read_facts(job.folder).get("machine")
    if known and Machine.from_dict(known).title != machine.title:
        raise LabError(f"This grid began on another machine ({known['processor']}): start a new one here.")
    lacking = next((device for device in config.devices if device != "cpu" and machine.gpu(device) is None), None)
    if lacking:
        raise LabError(f"There is no device {lacking!r} on this machine: leave it out.")
    return machine


def _roofline(config: HardwareConfig, job: Job, checkpoint: Path) -> None:
    folder = part_folder(job.folder, ROOFLINE)
    if config.roofline and GRIDS.read_part(folder) is None:
        job.stage("measuring peaks and layers")
        batch = max(config.batch_sizes)
        found = run_roofline(checkpoint, max(config.threads), batch, job.stop_if_wanted)
        GRIDS.write_part(ensure_folder(folder), found)


def _spent(before: float, began: float) -> float:
    return round(before + time.monotonic() - began, 3)


def _poll(job: Job, before: float, began: float) -> Any:
    def poll() -> None:
        job.update(seconds=_spent(before, began))
        job.stop_if_wanted()

    return poll


class Specs:
    """What processes are told, and the files they read."""

    def __init__(
        self,
        config: HardwareConfig,
        checkpoint: Checkpoint,
        folder: Path,
        dataset: ImageDataset,
        work: Path,
        job: Job,
    ) -> None:
        self.config, self.checkpoint, self.folder, self.work = config, checkpoint, folder, work
        if not len(dataset.test):
            raise LabError(f"{dataset.card.title[:80]} has no test images: choose another checkpoint.")
        numbers = np.random.default_rng(config.seed).permutation(len(dataset.test))[: config.images]
        self._save("sample", dataset.test, np.sort(numbers))
        self._save("train", dataset.train, np.arange(min(TRAIN_IMAGES, len(dataset.train))))
        self.onnx: dict[str, str | LabError] = {}
        if any(setup.runtime == "onnx" for setup in config.setups):
            job.stage("exporting to ONNX")
            self.onnx = onnx_files(checkpoint, np.asarray(dataset.train.images[:TRAIN_IMAGES]), work)

    def spec(self, setup: Setup) -> Spec:
        """Raises LabError for a cell whose file could not be made."""
        file = self.onnx.get(setup.precision, "") if setup.runtime == "onnx" else ""
        if isinstance(file, LabError):
            raise file
        training = setup.work == "training"
        return Spec(
            setup=setup,
            checkpoint=str(self.folder),
            sample=str(self.work / "sample.npz"),
            train=str(self.work / "train.npz") if training else "",
            onnx=file,
            recipe=training_recipe(self.checkpoint.card, self.folder, setup) if training else None,
        )

    def _save(self, name: str, split: Split, numbers: np.ndarray) -> None:
        np.savez(self.work / f"{name}.npz", images=np.asarray(split.images[numbers]), labels=split.labels[numbers])


def training_recipe(card: Card, folder: Path, setup: Setup) -> dict[str, Any]:
    """The recipe of a checkpoint, going on from it under one setting. Raises LabError."""
    from core.training.recipes import own_recipe, recipe_from

    config = recipe_from(card, str(folder), "longer" if own_recipe(card) else "fine-tuning")
    return config.replace(
        device=setup.device,
        precision=setup.precision,
        compile=setup.runtime == "compile",
        batch_size=setup.batch_size,
        train_images=0,
        train_on="train+validation",
        extra_dataset="",
        extra_images=0,
        extra_only=False,
        grad_accumulation=1,
        probe_images=0,
        snapshots=0,
        warmup=0.0,
    ).to_dict()
