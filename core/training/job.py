"""A training run in its worker: consume the trainer's results, keep what a resume needs, report the best at the end."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from pathlib import Path
from typing import Any

import torch

from core.checkpoints.store import CARD, Checkpoint, read_card, save_checkpoint
from core.data import load_dataset
from core.data.dataset import Dataset, ImageDataset, TextCard, TextDataset
from core.inference.evaluation_store import keep_evaluation
from core.inference.generate import write
from core.inference.sampling import SamplingConfig
from core.jobs.job import Job, Outcome
from core.jobs.metrics import rewind
from core.training.config import TrainConfig
from core.training.estimate import known_speed, record_speed
from core.training.flow_task import FlowTask
from core.training.head_task import HeadTask
from core.training.image_task import ImageTask
from core.training.kind import FIGURES
from core.training.report import in_words, measure_flow, measure_images, measure_text
from core.training.results import EvalResult, Finished, StepResult
from core.training.sample_answers import (
    ANSWERS,
    SampleImages,
    add_answers,
    choose_sample_images,
    write_sample_images,
)
from core.training.sample_sheets import SHEETS, add_sheet, sample_sheet
from core.training.session import TrainSession
from core.training.snapshots import (
    checkpoint_title,
    epoch_title,
    keep_until,
    kept_steps,
    snapshot_folder,
    title_checkpoints,
)
from core.training.team import device_of, start_team
from core.training.time_left import TimeLeft
from core.training.trainer import train

SAVE_EVERY_S = 60.0
SAVE_SHARE = 20
"""The state is saved every epoch, but not before 20 times as long as the last save took has passed: at most 5%."""
RATE_WINDOW = 20
SAMPLE = SamplingConfig(length=300, temperature=0.8)
"""What a language model writes at every evaluation, always with the same seed, so that one sees it learn."""
LEAST_SPEED_S = 5.0


def run_training(config: TrainConfig, job: Job) -> Outcome:
    """Train, or go on training, until the end, a stop (raises Stopped) or an error; then measure what came of it."""
    job.stage("reading the dataset")
    dataset = load_dataset(config.dataset, job.downloading)
    job.stage("preparing")
    with start_team(config, job) as team:
        session = TrainSession.start(
            config, dataset, device_of(config, 0), threads=job.run.threads, on_progress=job.downloading, team=team
        )
        return _train(session, job)


def _train(session: TrainSession, job: Job) -> Outcome:
    config, dataset = session.config, session.dataset
    sample = None
    if isinstance(dataset, ImageDataset) and not isinstance(session.task, FlowTask):
        sample = choose_sample_images(config, dataset)
    outcome = train_to_end(session, job, sample)
    if outcome.reason == "diverged":
        kept = " The best checkpoint before that is kept." if (job.folder / "best" / CARD).is_file() else ""
        return Outcome(status="failed", message=outcome.message + kept, final=True)
    result = _report(session, dataset, job) if (job.folder / "best" / CARD).is_file() else ""
    message = f"{outcome.message.rstrip('.')}; {result}." if result else outcome.message
    return Outcome(status="finished", message=message)


def train_to_end(session: TrainSession, job: Job, sample: SampleImages | None = None) -> Finished:
    """Go on from the saved state, if there is one, to the last step, keeping rows, checkpoints and states on the way.

    sample: images whose answers are kept at every evaluation too.
    """
    recorder = Recorder(session, job, sample)
    if job.state_path.exists():
        session.load_state(job.state_path)
    job.rewind(session.counters.step, session.counters.evaluated_step)
    for name in (ANSWERS, SHEETS):
        rewind(job.folder / name, session.counters.evaluated_step)
    if session.counters.step == 0:
        # A run that starts anew, also after it was lost without a saved state, starts with nothing measured.
        unmeasured: dict[str, Any] = dict.fromkeys(name for name in FIGURES if name.startswith(("best_", "last_")))
        job.update(**unmeasured)
    keep_until(job.folder, session.counters.evaluated_step)
    if session.counters.step == 0 and session.config.snapshots:
        recorder.keep(snapshot_folder(job.folder, 0.0), epoch_title(0.0))
    recorder.begin()
    for result in train(session):
        if isinstance(result, Finished):
            recorder.ended()
            return result
        job.interruptible = False
        recorder.record(result)
        if job.stop_wanted():
            recorder.save()
            recorder.remember_speed()
            job.stop_if_wanted()
        # Nothing is lost by a stop during an evaluation that follows a save: the state on disk is the one before it.
        job.interruptible = session.evaluation_due() and recorder.is_saved()
    raise RuntimeError("the trainer ended without a result")


class Recorder:
    """Turns results into rows, status, checkpoints and saved states, and keeps the clocks."""

    def __init__(self, session: TrainSession, job: Job, sample: SampleImages | None = None) -> None:
        self.session, self.job, self.sample = session, job, sample
        self.saved = (-1, -1)
        self.save_cost_s = 0.0
        self.saved_at = 0.0
        self.clock = 0.0
        self.seconds = job.run.seconds
        self.step_seconds = float(job.value("step_seconds") or 0.0)
        self.step_examples = int(job.value("step_examples") or 0)
        speed = self.step_examples / self.seconds if self.step_examples and self.seconds else None
        self.time_left = TimeLeft(
            speed or known_speed(session.config, session.device), session.dataset_card.sizes.get("validation", 0)
        )
        self.window: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)
        self.kept_steps = kept_steps(session.config.snapshots, session.total_steps, session.eval_every)

    def begin(self) -> None:
        session, job = self.session, self.job
        if session.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        self.epoch = int(session.epoch)
        self.examples = session.counters.examples
        self.before = (self.step_seconds, self.step_examples)
        if self.sample:
            write_sample_images(job.folder, self.sample)
        self.clock = self.saved_at = time.perf_counter()
        job.log(
            f"training on {session.device} with {torch.get_num_threads()} threads from step {session.counters.step}"
        )
        job.interruptible = False
        job.update(
            now=True,
            stage="training",
            stage_fraction=None,
            step=session.counters.step,
            epoch=session.epoch,
            total_steps=session.total_steps,
            device=session.device,
            threads=torch.get_num_threads(),
            torch_version=torch.__version__,
        )

    def record(self, result: StepResult | EvalResult) -> None:
        now = time.perf_counter()
        spent, self.clock = now - self.clock, now
        self.seconds += spent
        if isinstance(result, StepResult):
            self.step_seconds += spent
            self.step_examples += result.examples - self.examples
            self.examples = result.examples
            self._step(result)
        else:
            self.time_left.add_evaluation(spent)
            self._evaluation(result)

    def is_saved(self) -> bool:
        """Whether the state on disk is the one now."""
        return self.saved == (self.session.counters.step, self.session.counters.evaluated_step)

    def save(self) -> None:
        """Put the training state on disk, unless it is there already or has diverged."""
        session, job = self.session, self.job
        started = time.perf_counter()
        if self.is_saved():
            return
        job.sync_rows()
        if session.save_state(job.state_path):
            step = session.counters.step
            self.saved = (step, session.counters.evaluated_step)
            job.update(now=True, saved_step=step, step=step, **self._figures())
        self.saved_at = time.perf_counter()
        self.save_cost_s = self.saved_at - started

    def keep(self, folder: Path, which: str, measured: dict[str, Any] | None = None) -> None:
        """Write the weights as they would be used now as a checkpoint; `which` tells it from the run's others."""
        card = self.session.card(checkpoint_title(self.job.name, which), measured)
        save_checkpoint(folder, self.session.eval_model(), card)

    def remember_speed(self) -> None:
        """For the estimate of the next run's duration, evaluations included: from a whole epoch on all images, because
        less says too little of how the two go together."""
        whole = self.session.epoch >= 1 and not self.session.config.train_images
        if whole and self.step_seconds >= LEAST_SPEED_S:
            record_speed(self.session.config, self.session.device, self.step_examples / self.seconds)

    def ended(self) -> None:
        """The last state, so that a stop during the report loses nothing; the means of the whole run."""
        self.save()
        self.job.interruptible = self.is_saved()
        self.remember_speed()
        rate = self.step_examples / self.step_seconds if self.step_seconds else None
        self.job.update(now=True, **self._figures() | {"examples_per_s": rate, "seconds_left": None})

    def _step(self, result: StepResult) -> None:
        session, job = self.session, self.job
        loss: dict[str, Any] = {}
        if result.train_loss_nats is not None:
            self._row("train", result)
            loss = {"last_train_loss_nats": result.train_loss_nats}
        # One update: it tells whether it was written, which is when the clocks are read.
        if job.update(step=result.step, epoch=result.epoch, **loss):
            seconds, examples = self.window[-1] if self.window else self.before
            self.time_left.add_training(self.step_seconds - seconds, self.step_examples - examples)
            self.window.append((self.step_seconds, self.step_examples))
            job.update(**self._figures())
        since_save = time.perf_counter() - self.saved_at
        new_epoch = int(result.epoch + 1e-9) > self.epoch
        if since_save > SAVE_EVERY_S or (
            (new_epoch or session.evaluation_due()) and since_save > SAVE_SHARE * self.save_cost_s
        ):
            self.save()
        self.epoch = int(result.epoch + 1e-9)

    def _evaluation(self, result: EvalResult) -> None:
        session, job = self.session, self.job
        self._row("eval", result)
        if math.isfinite(result.val_loss_nats):
            keys = ("train_loss_nats", "train_accuracy", "val_loss_nats", "val_accuracy")
            measured = {key: value for key in keys if (value := getattr(result, key)) is not None}
            # A recipe that also trains on the validation images cannot choose by them: its best is its last.
            chooses = session.config.keep == "best" and session.config.train_on == "train"
            best = result.is_best or not chooses
            for which in ("best", "last") if best else ("last",):
                self.keep(job.folder / which, which, measured)
            if result.step in self.kept_steps:
                self.keep(snapshot_folder(job.folder, result.epoch), epoch_title(result.epoch), measured)
        job.update(
            now=True,
            best_val_accuracy=session.counters.best_val_accuracy,
            best_val_loss_nats=session.counters.best_val_loss_nats,
            last_val_accuracy=result.val_accuracy,
            last_val_loss_nats=result.val_loss_nats,
            **self._figures(),
        )
        if isinstance(session.dataset_card, TextCard) and math.isfinite(result.val_loss_nats):
            checkpoint = Checkpoint(job.run.id, session.card(job.name), session.eval_model())
            text = "".join(character.character for character in write(checkpoint, "", SAMPLE))
            job.sample(result.step, result.epoch, text)
        if isinstance(session.task, FlowTask):
            add_sheet(job.folder, result.step, result.epoch, sample_sheet(session.eval_model(), session.task))
        elif self.sample and isinstance(session.task, ImageTask):
            answers = session.task.answers(session.eval_model(), self.sample.pixels)
            add_answers(job.folder, result.step, result.epoch, answers)
        right = "" if result.val_accuracy is None else f", accuracy {result.val_accuracy:.4f}"
        job.log(
            f"epoch {result.epoch:g}: training loss {result.train_loss_nats:.4f}, "
            f"validation loss {result.val_loss_nats:.4f}{right}"
        )

    def _row(self, kind: str, result: StepResult | EvalResult) -> None:
        values = dataclasses.asdict(result) | {"seconds": round(self.seconds, 3)}
        del values["total_steps"]
        self.job.row(kind, values)

    def _figures(self) -> dict[str, Any]:
        """Clocks, rate and memory, for the status."""
        session, rate = self.session, None
        if self.window:
            first = self.window[0] if len(self.window) > 1 else (0.0, 0)
            seconds, examples = self.window[-1][0] - first[0], self.window[-1][1] - first[1]
            rate = examples / seconds if seconds > 0 else None
        steps = session.total_steps - session.counters.step
        left = self.time_left.seconds(steps * session.task.step_examples, math.ceil(steps / session.eval_every))
        return {
            "seconds": round(self.seconds, 3),
            "step_seconds": round(self.step_seconds, 3),
            "step_examples": self.step_examples,
            "examples_per_s": rate,
            "seconds_left": left,
            "peak_memory_bytes": peak_memory_bytes(session.device),
        }


def peak_memory_bytes(device: str) -> int:
    """Most memory used so far: of the device for a GPU, else of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    if device == "mps":
        return torch.mps.driver_allocated_memory()
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _report(session: TrainSession, dataset: Dataset, job: Job) -> str:
    """Measure the best checkpoint on what it never saw, put that on its card, and say it."""
    folder = job.folder / "best"
    known = {
        "training_seconds": job.value("seconds"),
        "examples_per_s": job.value("examples_per_s"),
        "run": job.run.id,
        "code_version": job.value("code_version"),
    }
    evaluation = None
    if isinstance(session.task, FlowTask):
        error = measure_flow(folder, session.task, known)
        words = f"velocity error {error:.4f} on validation images"
    elif isinstance(dataset, TextDataset):
        result = measure_text(folder, dataset, session.device, known, job.stage)
        words = f"validation loss {result.loss_nats:.3f} nats, {result.bits_per_character:.3f} bits per character"
    else:
        task = session.task
        features = task.kept_features() if isinstance(task, HeadTask) else None
        trained_on = task.train if session.parent and isinstance(task, ImageTask) else None
        evaluation = measure_images(folder, dataset, session.device, known, job.stage, features, trained_on)
        job.update(test_accuracy=evaluation.accuracy if evaluation else None)
        words = f"test accuracy {in_words(evaluation)}" if evaluation else ""
    title_checkpoints(job.folder, job.name)
    if evaluation:
        keep_evaluation(read_card(folder), evaluation)
    return words
