"""A recipe in its worker: make one variant after the other, each from the one before it, and measure each as it is made."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import numpy as np
import torch

from core.checkpoints.store import CARD, Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.common.paths import write_atomic
from core.common.processor import int8_processor
from core.common.values import plural, read_json
from core.compression.measuring.measure import Bench
from core.compression.methods import distill
from core.compression.methods.finetune import FineTuneSession
from core.compression.progress import MAKING, MEASURING, TRAINING, WHOLE, RecipeProgress, VariantJob
from core.compression.recipe import ORIGINAL, CompressConfig, Variant, check_fits
from core.compression.results import loss_words
from core.compression.steps import (
    FEWEST_CALIBRATION_IMAGES,
    Distill,
    FineTuningStep,
    Int8,
    Step,
    TrainingStep,
    check_retired,
)
from core.compression.store import (
    COMPRESSIONS,
    is_complete,
    read_compression,
    read_measurement,
    variant_folder,
    write_measurement,
)
from core.data import dataset_status, load_dataset
from core.data.dataset import Dataset, ImageDataset
from core.jobs.job import Job, Outcome
from core.jobs.store import CONFIG, MAX_NAME, STATE, RunStore
from core.training.job import train_to_end
from core.training.kind import TRAIN


def run_compression(config: CompressConfig, job: Job) -> Outcome:
    """Make and measure what is missing of a recipe. Raises Stopped with all of it kept, LabError where it cannot go on."""
    if job.run.threads:
        torch.set_num_threads(job.run.threads)  # sums depend on it: a resume takes as many
    check_retired(read_json((job.folder / CONFIG).read_bytes())["config"]["steps"])
    reference = find_checkpoint(config.checkpoint, job.folder.parent)
    original = load_checkpoint(reference)
    check_fits(config, original.card)
    dataset = _dataset(config, job)
    progress = RecipeProgress(config, job, original, dataset)
    job.interruptible = False
    bench = Bench(original, original.card.size_bytes, dataset, threads=config.threads, on_progress=progress.report)
    if not is_complete(job.folder, ORIGINAL):
        progress.begin(ORIGINAL, "the original", MEASURING)
        measured, answers = bench.measure_original()
        write_measurement(job.folder, measured, answers)
    current = before = original
    number = 0
    for variant in config.variants():
        if variant.number != number:  # all variants of one step start from the same network
            before, number = current, variant.number
        try:
            made = _make_variant(progress, variant, before)
        except Diverged as error:
            return Outcome(status="failed", message=f"{error} What was made before it is kept.", final=True)
        fresh = not is_complete(job.folder, variant.id)
        if fresh:
            progress.begin(variant.id, config.parsed()[variant.number - 1].words, MEASURING)
            measured, answers = bench.measure(made, made.card.size_bytes, **dataclasses.asdict(variant))
            write_measurement(job.folder, measured, answers)
        if fresh or made.card.metrics.get("run") != job.run.id:
            made = _add_metrics(progress, variant, made)
        progress.finish(variant)
        job.stop_if_wanted()
        if variant.goes_on:
            current = made
    _save_result(progress, current)
    job.update(now=True, parts_done=progress.done, step=WHOLE, seconds_left=None)
    return Outcome(status="finished", message=_summary(job))


class Diverged(LabError):
    """Training went wrong, and would again: no resume is offered."""


def _dataset(config: CompressConfig, job: Job) -> Dataset | None:
    """The data of the checkpoint; None where they are not on this machine and nothing but the measuring needs them."""
    job.stage("reading the dataset")
    try:
        if not config.needs_data and not dataset_status(config.dataset).ready:
            return None
        dataset = load_dataset(config.dataset, job.downloading)
    except LabError:
        if config.needs_data:
            raise
        return None
    calibrates = any(isinstance(step, Int8) for step in config.parsed())
    if calibrates and isinstance(dataset, ImageDataset) and len(dataset.train) < FEWEST_CALIBRATION_IMAGES:
        raise LabError(
            f"{dataset.card.title} has {len(dataset.train)} training images, and int8 takes at least "
            f"{FEWEST_CALIBRATION_IMAGES} to measure the ranges of activations on: add some, or take int8 out of the recipe."
        )
    return dataset


def _make_variant(progress: RecipeProgress, variant: Variant, before: Checkpoint) -> Checkpoint:
    """The variant's checkpoint: from disk, or made now and kept there."""
    folder = variant_folder(progress.job.folder, variant.id) / "best"
    step = progress.config.parsed()[variant.number - 1]
    name = f"{progress.job.run.id}/{variant.id}"
    kept = _load_finished(progress, variant, step)
    if kept is not None:
        return dataclasses.replace(kept, name=name)
    (folder.parent / COMPRESSIONS.part_file).unlink(missing_ok=True)  # of one that was damaged
    progress.begin(variant.id, step.words, TRAINING if step.trains else MAKING)
    if variant.control:
        assert isinstance(step, Distill)
        step = step.without_teacher()
    made = step.apply(before, VariantContext(progress, variant))
    if not step.trains:  # a training keeps its own
        card = dataclasses.replace(made.card, title=_title(progress, variant), seed=progress.config.seed)
        save_checkpoint(folder, made.model, card, onnx=made.onnx)
    # What is measured, and what the next step starts from, is what the file gives back.
    return dataclasses.replace(load_checkpoint(str(folder)), name=name)


def _load_finished(progress: RecipeProgress, variant: Variant, step: Step) -> Checkpoint | None:
    folder = variant_folder(progress.job.folder, variant.id)
    if step.trains and not is_complete(progress.job.folder, variant.id):
        finished = progress.store.get(variant.id).status == "finished" if (folder / "config.json").is_file() else False
        if not finished:
            return None  # its `best` may be of the middle of its training
    try:
        return load_checkpoint(str(folder / "best"))
    except LabError:
        return None  # none yet, or a damaged one: made again


class VariantContext:
    """What a step may use for one variant: seed, data, and a training that stops and goes on in the variant's folder."""

    def __init__(self, progress: RecipeProgress, variant: Variant) -> None:
        self.progress, self.variant = progress, variant
        self.seed = progress.config.seed
        self.images = progress.images

    def train(self, step: TrainingStep, before: Checkpoint) -> Checkpoint:
        """Train a step to its end, or go on from where it stopped."""
        progress, variant = self.progress, self.variant
        if progress.dataset is None:
            progress.images()
        assert progress.dataset is not None
        progress.job.interruptible = True
        session = FineTuneSession(
            before, step, progress.dataset, seed=self.seed + variant.seed, device=progress.config.device
        )
        if not (progress.store.root / variant.id / "config.json").is_file():
            # Whatever lies there was damaged.
            shutil.rmtree(progress.store.root / variant.id, ignore_errors=True)
            progress.store.create(session.config, _title(progress, variant), kind=TRAIN.name, run_id=variant.id)
        self._teach(step, before, session)
        part = VariantJob(progress, variant, step.words)
        finished = train_to_end(session, part)
        if finished.reason == "diverged":
            raise Diverged(f"{step.words[0].upper()}{step.words[1:]}: {finished.message}")
        part.end("finished", finished.message)
        progress.job.interruptible = False
        (part.folder / STATE).unlink(missing_ok=True)
        shutil.rmtree(part.folder / "last", ignore_errors=True)
        return load_checkpoint(str(part.folder / "best"))

    def _teach(self, step: TrainingStep, before: Checkpoint, session: FineTuneSession) -> None:
        """Give the session the soft targets of the step's teacher, if it has one."""
        progress = self.progress
        teacher = step.teacher(before, progress.original)
        if teacher is None:
            return
        assert isinstance(step, Distill | FineTuningStep)
        assert progress.dataset is not None
        task: Any = session.task
        targets = distill.soft_targets(
            teacher, progress.dataset, task, lambda share, words: progress.report(0.1 * share, words)
        )
        if isinstance(step, Distill) and isinstance(progress.dataset, ImageDataset):
            labels = task.train_data.labels.cpu().numpy()
            soft_labels = list(distill.mean_soft_labels(targets, labels, progress.dataset.card.classes))
            COMPRESSIONS.write_facts(progress.job.folder, soft_labels=soft_labels)
        session.teach(distill.Teaching(targets=targets, alpha=step.alpha, temperature=step.temperature))


def _add_metrics(progress: RecipeProgress, variant: Variant, made: Checkpoint) -> Checkpoint:
    """Put what was measured on the variant's card."""
    found = read_measurement(progress.job.folder, variant.id)
    assert found is not None
    measured = dataclasses.asdict(found)
    figures: dict[str, Any] = {"run": progress.job.run.id, "code_version": progress.job.value("code_version")}
    if measured["loss_nats"] is not None:
        figures |= {
            "val_loss_nats": measured["loss_nats"],
            "val_bits_per_character": measured["loss_nats"] / float(np.log(2)),
            "val_accuracy": measured["accuracy"],
            "val_characters": measured["images"],
        }
    elif measured["accuracy"] is not None:
        figures |= {
            "test_accuracy": measured["accuracy"],
            "test_interval": list(measured["accuracy_interval"] or ()),
            "test_images": measured["images"],
            "delta_points": measured["delta_points"],
            "p_value": measured["p_value"],
        }
    if made.onnx:
        figures["processor"] = int8_processor()
    calibration = made.card.calibration
    if found.calibration:
        calibration = found.calibration
        figures |= {"test_ece": found.ece, "test_flagged": found.flagged}
    card = dataclasses.replace(made.card, calibration=calibration, metrics=dict(made.card.metrics) | figures)
    write_atomic(variant_folder(progress.job.folder, variant.id) / "best" / CARD, card.to_json())
    return dataclasses.replace(made, card=card)


def _save_result(progress: RecipeProgress, last: Checkpoint) -> None:
    """The last variant is the run's own checkpoint, to be found under its id."""
    card = dataclasses.replace(last.card, title=progress.job.name)
    save_checkpoint(progress.job.folder / "best", last.model, card, onnx=last.onnx)


def _title(progress: RecipeProgress, variant: Variant) -> str:
    """Of a variant's checkpoint, for people."""
    return f"{progress.original.card.title}: {variant.title}"[:MAX_NAME]


def _summary(job: Job) -> str:
    result = read_compression(RunStore(job.folder.parent), job.run.id)
    last = [variant.id for variant in result.config.variants() if variant.goes_on][-1]
    words = next(loss_words(item) for item in result.measured if item.id == last)
    return f"{plural(len(result.variants), 'variant')} made and measured; the result: {words}."
