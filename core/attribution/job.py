"""Methods scored over many test images in a worker: image by image, each kept, so that a resume goes on."""

from __future__ import annotations

import time

from core.attribution.config import ScoresConfig
from core.attribution.evidence.cost import IMAGES_A_PROCESS
from core.attribution.evidence.report import MOST_JOBS, Report, make_report
from core.attribution.evidence.scores import PASSES
from core.attribution.methods.registry import get_method
from core.attribution.store import WORK, write_report
from core.checkpoints.store import find_checkpoint
from core.data import load_images
from core.jobs.engine import gpus
from core.jobs.job import Job, Outcome
from core.jobs.pool import crew_size

STEPS = 100
"""Per image, in which progress is counted."""


def run_scores(config: ScoresConfig, job: Job) -> Outcome:
    """Score what is missing, then write the report. Raises Stopped with all images kept, LabError where it cannot be done."""
    reference = find_checkpoint(config.checkpoint, job.folder.parent)
    job.stage("reading the dataset")
    dataset = load_images(reference.card.dataset.name, job.downloading)
    processes = crew_size(max(1, config.images // IMAGES_A_PROCESS), config.device, gpus())
    job.stage("starting")
    progress = ScoresProgress(job, config)
    report = None
    for item in make_report(
        reference,
        dataset,
        images=config.images,
        seed=config.seed,
        sensitivity_images=config.sensitivity_images,
        baseline=config.baseline,
        methods=[get_method(name) for name in config.methods],
        device=config.device,
        jobs=min(processes, MOST_JOBS),
        work=job.folder / WORK,
        on_progress=progress.show,
    ):
        report = item if isinstance(item, Report) else None
    assert report is not None, "the last item is the report"
    write_report(job, report)
    progress.show(1.0)
    methods = [row for row in report.rows() if not row.control]
    better = sum(row.group == PASSES for row in methods)
    return Outcome(
        status="finished",
        message=f"{len(report.images)} images scored; {better} of {len(methods)} methods beat every control.",
    )


class ScoresProgress:
    """Share done, time spent over all resumes, and time left."""

    def __init__(self, job: Job, config: ScoresConfig) -> None:
        self.job, self.images = job, config.images
        self.seconds_before, self.started = job.run.seconds, time.monotonic()
        self.first: tuple[float, float] | None = None
        job.update(now=True, total_steps=STEPS * config.images, device=config.device)

    def show(self, share: float) -> None:
        """Raises Stopped where that is asked for."""
        spent = time.monotonic() - self.started
        if self.first is None:
            self.first = (spent, share)  # what a run before this one did took none of this time
        begun, before = self.first
        rate = (share - before) / (spent - begun) if spent > begun and share > before else None
        done = int(share * self.images + 1e-6)
        self.job.update(
            stage="scoring",
            step=int(share * STEPS * self.images),
            saved_step=STEPS * done,
            parts_done=done,
            seconds=round(self.seconds_before + spent, 3),
            seconds_left=(1 - share) / rate if rate else None,
        )
        self.job.stop_if_wanted()
