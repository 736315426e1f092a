"""What the steps of a recipe need while they are under way: how far it is, its original and data, and the training of a variant
as a part of it.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from core.checkpoints.store import MEMBERS, Checkpoint
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.common.values import plural
from core.compression.methods.finetune import matching_dataset
from core.compression.recipe import ORIGINAL, CompressConfig, Variant
from core.compression.steps import TrainingStep
from core.compression.store import COMPRESSIONS
from core.data.dataset import Dataset, ImageDataset
from core.jobs.job import Job
from core.jobs.store import RunStore

TRAINING, MAKING, MEASURING = 60, 3, 10
"""Shares of the progress bar: training a variant, making one without, measuring one."""
WHOLE = 1000
"""Steps of the progress bar."""


class RecipeProgress:
    """How far a recipe is, and what every step of it needs."""

    def __init__(self, config: CompressConfig, job: Job, original: Checkpoint, dataset: Dataset | None) -> None:
        self.config, self.job, self.original, self.dataset = config, job, original, dataset
        self.store = RunStore(ensure_folder(job.folder / MEMBERS))
        self.done = 0
        self.stage = ""
        self.started = time.monotonic()
        self.seconds_before = job.run.seconds
        steps = config.parsed()
        self.shares = {(ORIGINAL, MEASURING): 0.0}
        at = float(MEASURING)
        for variant in config.variants():
            cost = TRAINING if isinstance(steps[variant.number - 1], TrainingStep) else MAKING
            self.shares[variant.id, cost], self.shares[variant.id, MEASURING] = at, at + cost
            at += cost + MEASURING
        self.total = at
        self.at, self.cost = 0.0, 0.0
        self._write_facts()
        # Those of its training; the recipe's are those that latencies are measured with.
        threads = torch.get_num_threads()
        job.update(now=True, total_steps=WHOLE, step=0, stage_fraction=None, threads=threads, device=config.device)

    def begin(self, variant: str, words: str, cost: int) -> None:
        """The next piece of work. cost: MAKING, TRAINING or MEASURING."""
        self.at, self.cost = self.shares[variant, cost], cost
        self.stage = words
        self.job.log(f"{'measuring' if cost == MEASURING else 'making'} {words}")
        self.show(0.0)

    def finish(self, variant: Variant) -> None:
        """A variant is made and measured, now or before."""
        self.at, self.cost = self.shares[variant.id, MEASURING], MEASURING
        self.done += 1
        self.show(1.0)

    def show(self, share: float, words: str = "", seconds_left: float | None = None) -> None:
        """Write how far the piece of work is. Raises Stopped where that is asked for."""
        step = round(WHOLE * min(1.0, (self.at + self.cost * share) / self.total))
        begun = round(WHOLE * min(1.0, self.at / self.total))
        spent = time.monotonic() - self.started
        self.job.update(
            stage=words or self.stage,
            step=step,
            saved_step=step if self.cost == TRAINING else begun,  # a training saves its state, the rest begins again
            parts_done=self.done,
            seconds=round(self.seconds_before + spent, 3),
            seconds_left=seconds_left,
        )

    def report(self, share: float, words: str) -> None:
        """The Progress of what makes or measures a variant."""
        self.show(share, f"{self.stage}: {words}")
        self.job.stop_if_wanted()

    def images(self) -> ImageDataset:
        """The images. Raises LabError where they are not on this machine."""
        if not isinstance(self.dataset, ImageDataset):
            raise LabError(
                f"This step needs the training images of {self.original.card.dataset.title}, which are not on this machine: "
                "get the dataset first, then resume."
            )
        found = matching_dataset(self.original.card, self.dataset)
        assert isinstance(found, ImageDataset)
        return found

    def _write_facts(self) -> None:
        card, known = self.original.card, COMPRESSIONS.read_facts(self.job.folder)
        if known.get("weights", card.weights_sha256) != card.weights_sha256:
            raise LabError(
                f"The checkpoint {self.config.checkpoint} has changed since this recipe began: start the recipe again."
            )
        before = known["made"]
        made = self.job.provenance(f"latencies with {plural(self.config.threads, 'thread')}")
        # Variants from before a resume were made with what stood here then.
        made = {key: f"{old}, then {new}" if (old := before.get(key, new)) != new else new for key, new in made.items()}
        COMPRESSIONS.write_facts(
            self.job.folder,
            original=card.title,
            weights=card.weights_sha256,
            classes=list(card.image_data.classes) if card.task == "images" else [],
            made=made,
        )


class VariantJob(Job):
    """The training of one variant: its rows and states in its own folder, its progress in the recipe's."""

    def __init__(self, progress: RecipeProgress, variant: Variant, words: str) -> None:
        self.progress, self.words = progress, words
        super().__init__(progress.store, progress.store.get(variant.id))

    @property
    def interruptible(self) -> bool:
        """Whether a signal may end the recipe on the spot."""
        return self.progress.job.interruptible

    @interruptible.setter
    def interruptible(self, value: bool) -> None:
        self.progress.job.interruptible = value

    def stop_wanted(self) -> str:
        return self.progress.job.stop_wanted()

    def stop_if_wanted(self) -> None:
        self.progress.job.stop_if_wanted()

    def update(self, *, now: bool = False, durable: bool = False, **changes: Any) -> bool:
        written = super().update(now=now, durable=durable, **changes)
        if written and (total := self.value("total_steps")):
            left = self.value("seconds_left")
            self.progress.show((self.value("step") or 0) / total, f"{self.words}: training", left)
            self.progress.job.update(examples_per_s=self.value("examples_per_s"))
        return written
