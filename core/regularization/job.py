"""A study in its worker: train all runs that are missing, choose strengths on validation, then look at the test set once."""

from __future__ import annotations

import shutil
import time
from functools import partial

from core.checkpoints.store import CARD, MEMBERS
from core.common.devices import likely_device
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.common.values import plural
from core.data import GENERATED_PREFIX, load_images
from core.data.dataset import ImageDataset
from core.data.generated import read_card
from core.jobs.engine import gpus
from core.jobs.job import Job, Outcome
from core.jobs.pool import TEST, TRAIN, Pool, PoolTask, TaskResult, open_pool, pool_size
from core.jobs.run import number
from core.jobs.store import RunStore
from core.regularization import cost
from core.regularization.analysis import headline, selected_runs
from core.regularization.kind import MEMBER
from core.regularization.results import StudyResult
from core.regularization.store import STUDIES, read_study
from core.regularization.study import Member, StudyConfig
from core.training.extra import check_classes

ADDED = "runs were added after a look at the test images"
LEAST_SPEED_S = 60.0
LEAST_IMAGES = 2000
"""Of training between two measurements: the quick study has 3,200."""
TRIES = 2
"""For a run whose process died: of memory, most likely, and then perhaps not again."""


def run_study(config: StudyConfig, job: Job) -> Outcome:
    """Do what is missing of a study. Raises Stopped with all of it kept, LabError where it cannot be done."""
    job.stage("reading the dataset")
    dataset = load_images(config.dataset, job.downloading)
    extra = load_images(config.extra_dataset, job.downloading) if config.extra_dataset else None
    config.check_data(len(dataset.train), len(extra.train) if extra else None)
    if extra:
        check_classes(extra.card, dataset.card)
    job.stage("preparing")
    store = RunStore(ensure_folder(job.folder / MEMBERS))
    members = {member.id: member for member in config.members()}
    size = pool_size(len(members), config.device, gpus())
    known = [STUDIES.read_part(store.root / member_id) for member_id in members]
    # Whoever adds runs because of what the test images said can no longer rely on the intervals: that is said for good.
    added = any(not (store.root / member_id).is_dir() for member_id in members)
    looked = added and any(result and result.test_accuracy is not None for result in known)
    _write_facts(dataset, extra, size, job, looked)
    for member_id, member in members.items():
        if not _is_usable(store, member_id):
            # Whatever is left of one that was damaged: it is trained again.
            shutil.rmtree(store.root / member_id, ignore_errors=True)
            store.create(config.train_config(member), member.title, kind=MEMBER.name, run_id=member_id)
    has_test = len(dataset.test) > 0
    del dataset, extra  # the processes read their own
    progress = StudyProgress(job, store, members, config, size)
    job.interruptible = False
    pool = open_pool("core.regularization.member", store.root, size, gpus())
    try:
        _train(progress, pool)
        if has_test:
            _test(progress, pool)
    finally:
        pool.stop(lambda: progress.show("ending"))
    progress.show("ending")
    progress.remember_speed()
    result = progress.result()
    unfinished = [item for name, item in zip(members, result.members, strict=True) if name not in progress.done]
    if unfinished:
        why = unfinished[0].message.rstrip(".") or "their process died"
        message = f"{len(unfinished)} of {len(members)} runs did not finish ({why}): resume it to try them again."
        return Outcome(status="failed", message=message)
    failed = sum(item.status == "failed" for item in result.members)
    message = f"{len(members) - failed} of {len(members)} runs finished. {headline(result)}"
    return Outcome(status="finished", message=message)


class StudyProgress:
    """Progress of a running study: steps done, speed, time left."""

    def __init__(self, job: Job, store: RunStore, members: dict[str, Member], config: StudyConfig, size: int) -> None:
        self.job, self.store, self.members, self.config, self.size = job, store, members, config, size
        self.done: set[str] = set()
        self.steps: dict[str, int] = {}
        for member_id in members:
            self.refresh(member_id)
        self.started = time.monotonic()
        self.seconds_before = job.run.seconds
        self.steps_before = sum(self.steps.values())
        self.begun: tuple[float, int] | None = None
        job.update(now=True, total_steps=len(members) * config.steps, device=config.device)

    def refresh(self, member_id: str) -> bool:
        """Read how far a run is; returns whether it is over. One that ended early, or diverged, has done all its steps."""
        over = STUDIES.read_part(self.store.root / member_id) is not None
        if over:
            self.done.add(member_id)
        step = self.config.steps if over else int(number(self.store.status(member_id), "step") or 0)
        self.steps[member_id] = min(step, self.config.steps)
        return over

    def result(self) -> StudyResult:
        """The study as it is on disk."""
        return read_study(RunStore(self.job.folder.parent), self.job.run.id)

    def show(self, stage: str, running: list[PoolTask] | None = None) -> None:
        for task in running or []:
            self.refresh(task.member_id)
        spent, steps = time.monotonic() - self.started, sum(self.steps.values())
        total = len(self.members) * self.config.steps
        if steps > self.steps_before and self.begun is None:
            self.begun = (spent, steps)  # starting PyTorch does not count
        rate = None
        if self.begun and spent - self.begun[0] > 3:
            rate = max(0, steps - self.begun[1]) / (spent - self.begun[0]) or None
        self.job.update(
            stage=stage,
            step=steps,
            saved_step=steps,  # each run saves its state when it is stopped, and every minute
            parts_done=len(self.done),
            seconds=round(self.seconds_before + spent, 3),
            examples_per_s=rate * self.config.batch_size if rate else None,
            seconds_left=(total - steps) / rate if rate else None,
        )

    def check(self, stage: str, running: list[PoolTask]) -> None:
        """Show how far it is; raises Stopped where that is asked for."""
        self.show(stage, running)
        self.job.stop_if_wanted()

    def remember_speed(self) -> None:
        """For the estimate of the next study's duration: what one process gets done beside the others. Not from a study whose
        time went into starting and measuring."""
        images = (sum(self.steps.values()) - self.steps_before) * self.config.batch_size
        spent = time.monotonic() - self.started
        if (
            spent > LEAST_SPEED_S
            and self.config.steps * self.config.batch_size >= LEAST_IMAGES * self.config.evaluations
        ):
            cost.remember(self.config, likely_device(self.config.device), images / spent / self.size)


def _write_facts(dataset: ImageDataset, extra: ImageDataset | None, size: int, job: Job, looked: bool) -> None:
    """Keep what is known of dataset and machine. looked: runs are missing after others were measured on test.

    Raises LabError where the data are not those of the runs that there are.
    """
    data = dataset.card.content
    added = {f"extra {name}": value for name, value in extra.card.sha256.items()} if extra else {}
    before = STUDIES.read_facts(job.folder)
    own = {name: value for name, value in before.get("data", {}).items() if name not in added}
    title = extra.card.title if extra and own == data else dataset.card.title
    STUDIES.check_data(job.folder, title, data | added)
    STUDIES.write_facts(
        job.folder,
        classes=list(dataset.card.classes),
        sizes={"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)},
        extra=read_card(extra.card.name).to_dict() if extra and extra.card.name.startswith(GENERATED_PREFIX) else {},
        made=job.provenance(f"{plural(size, 'process')} with a thread each")
        | ({"note": ADDED} if looked or "note" in before["made"] else {}),
    )


def _is_usable(store: RunStore, member_id: str) -> bool:
    """Whether a run can be resumed, or is over with all its files."""
    folder = store.root / member_id
    result = STUDIES.read_part(folder)
    if result is not None:
        return result.status != "finished" or (folder / "best" / CARD).is_file()
    try:
        run = store.get(member_id)
    except LabError:
        return False
    return run.resumable or run.active  # active: a process of a worker that was killed is still saving it


def _train(progress: StudyProgress, pool: Pool) -> None:
    missing = [
        PoolTask(verb=TRAIN, member_id=member_id) for member_id in progress.members if member_id not in progress.done
    ]
    for _ in range(TRIES):
        again = []
        for answer in pool.run(missing, partial(progress.check, "training")):
            if not progress.refresh(answer.task.member_id):
                again.append(answer.task)
                _log_failure(progress, answer)
        missing = again


def _test(progress: StudyProgress, pool: Pool) -> None:
    """Measure the runs chosen on validation on the test images, once all runs are trained."""
    if len(progress.done) < len(progress.members):
        return
    result = progress.result()
    wanted = {
        (item.variant, item.train_size, item.seed) for item in selected_runs(result) if item.test_accuracy is None
    }
    tasks = [
        PoolTask(verb=TEST, member_id=member_id)
        for member_id, member in progress.members.items()
        if (member.variant.spec, member.train_size, member.seed) in wanted
    ]
    for answer in pool.run(tasks, partial(progress.check, "measuring on the test images")):
        if answer.status != "tested":
            _log_failure(progress, answer)
            folder = progress.store.root / answer.task.member_id
            raise LabError(
                f"A checkpoint could not be measured on the test images ({answer.message.rstrip('.') or answer.status}): "
                f"resume the study to try again. Should that fail too, delete {folder}, and it trains that run again."
            )


def _log_failure(progress: StudyProgress, answer: TaskResult) -> None:
    progress.job.log(f"{answer.task.verb} {answer.task.member_id}: {answer.status}. {answer.message}".strip())
