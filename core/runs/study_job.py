"""A study in its worker: train all runs that are missing, choose strengths on validation, then look at the test set once."""

from __future__ import annotations

import json
import time

from core.checkpoints import MEMBERS, versions
from core.data import load_images
from core.devices import processor_name
from core.errors import LabError
from core.paths import ensure_folder, write_atomic
from core.regularization import cost
from core.regularization.analysis import headline, judged
from core.regularization.results import StudyResult
from core.regularization.study import Member, StudyConfig
from core.runs.crew import Answer, Crew, Task, crew_size
from core.runs.engine import gpus
from core.runs.job import Job, Outcome
from core.runs.run import MEMBER
from core.runs.store import RunStore
from core.runs.studies import FACTS, read_result, read_study

TRIES = 2
"""For a run whose process died: of memory, most likely, and then perhaps not again."""


def run_study(config: StudyConfig, job: Job) -> Outcome:
    """Do what is missing of a study. Raises Stopped with all of it kept, LabError where it cannot be done."""
    job.stage("reading the dataset")
    dataset = load_images(config.dataset, job.downloading)
    config.check_data(len(dataset.train))
    job.stage("preparing")
    store = RunStore(ensure_folder(job.folder / MEMBERS))
    members = {member.id: member for member in config.members()}
    for member_id, member in members.items():
        if not (store.root / member_id).is_dir():
            store.create(config.train_config(member), member.title, kind=MEMBER, run_id=member_id)
    size = crew_size(len(members), config.device, gpus())
    facts = {
        "classes": list(dataset.card.classes),
        "sizes": {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)},
        "made": {
            "hardware": f"{processor_name()}, {size} processes with a thread each",
            "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
            "code": str(job.value("code_version") or ""),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        },
    }
    write_atomic(job.folder / FACTS, json.dumps(facts, indent=1) + "\n")
    has_test = len(dataset.test) > 0
    del dataset  # the processes read their own
    watch = Watch(job, store, members, config, size)
    job.interruptible = False
    crew = Crew(store.root, size, gpus())
    try:
        _train(watch, crew)
        if has_test:
            _test(watch, crew)
    finally:
        crew.stop(lambda: watch.show("ending"))
    watch.remember_speed()
    result = watch.result()
    unfinished = [item for item in result.members if item.status not in ("finished", "failed")]
    if unfinished:
        return Outcome(
            status="failed",
            message=f"{len(unfinished)} of {len(members)} runs did not finish ({unfinished[0].message or 'their process died'})"
            ": resume it to try them again.",
        )
    failed = sum(item.status == "failed" for item in result.members)
    message = f"{len(members) - failed} of {len(members)} runs finished. {headline(result)}"
    return Outcome(status="finished", message=message)


class Watch:
    """What is known of a study while its runs are under way: how far it is, how fast, and how long still."""

    def __init__(self, job: Job, store: RunStore, members: dict[str, Member], config: StudyConfig, size: int) -> None:
        self.job, self.store, self.members, self.config, self.size = job, store, members, config, size
        self.done = {member_id for member_id in members if read_result(store.root / member_id)}
        self.started = time.monotonic()
        self.seconds_before = job.run.seconds
        self.steps_before = self._steps([])
        job.update(now=True, total_steps=len(members) * config.steps, threads=size, device=config.device)

    def result(self) -> StudyResult:
        """The study as it is on disk."""
        return read_study(RunStore(self.job.folder.parent), self.job.run.id)

    def show(self, stage: str, in_hand: list[Task] | None = None) -> None:
        """Write how far the study is."""
        spent = time.monotonic() - self.started
        steps = self._steps([task.member_id for task in in_hand or []])
        trained, total = steps - self.steps_before, len(self.members) * self.config.steps
        rate = trained / spent if spent > 3 and trained else None
        self.job.update(
            stage=stage,
            step=steps,
            members_done=len(self.done),
            seconds=round(self.seconds_before + spent, 3),
            examples_per_s=rate * self.config.batch_size if rate else None,
            seconds_left=(total - steps) / rate if rate else None,
        )

    def check(self, in_hand: list[Task]) -> None:
        """Show how far it is; raises Stopped where that is asked for."""
        self.show("training", in_hand)
        self.job.stop_if_wanted()

    def check_test(self, in_hand: list[Task]) -> None:
        """The same while the test set is looked at."""
        self.show("measuring on the test images", in_hand)
        self.job.stop_if_wanted()

    def remember_speed(self) -> None:
        """For the estimate of the next study's duration: what one process gets done beside the others."""
        trained = self._steps([]) - self.steps_before
        spent = time.monotonic() - self.started
        if trained >= 10 * self.config.steps or spent > 60:
            device = self.config.device if self.config.device != "auto" or not gpus() else "cuda:0"
            cost.remember(
                self.config, "cpu" if device == "auto" else device, trained * self.config.batch_size / spent / self.size
            )

    def _steps(self, in_hand: list[str]) -> int:
        """Steps done; a run that ended early, or diverged, is done with all of them."""
        running = sum(
            min(self.config.steps, int(self.store.status(member_id).get("step") or 0))
            for member_id in in_hand
            if member_id not in self.done
        )
        return len(self.done) * self.config.steps + running


def _train(watch: Watch, crew: Crew) -> None:
    missing = [Task(verb="train", member_id=member_id) for member_id in watch.members if member_id not in watch.done]
    for _ in range(TRIES):
        again = []
        for answer in crew.run(missing, watch.check):
            if read_result(watch.store.root / answer.task.member_id):
                watch.done.add(answer.task.member_id)
            else:
                again.append(answer.task)
                _complain(watch, answer)
        missing = again


def _test(watch: Watch, crew: Crew) -> None:
    """Only what was chosen on validation, and only once everything that there is to choose from has been trained."""
    result = watch.result()
    if result.done < len(result.members):
        return
    wanted = {(item.variant, item.train_size, item.seed) for item in judged(result) if item.test_accuracy is None}
    tasks = [
        Task(verb="test", member_id=member_id)
        for member_id, member in watch.members.items()
        if (member.variant.spec, member.train_size, member.seed) in wanted
    ]
    for answer in crew.run(tasks, watch.check_test):
        if answer.status != "tested":
            _complain(watch, answer)
            raise LabError(
                f"A checkpoint could not be measured on the test images ({answer.message or answer.status}): resume the study "
                "to try again."
            )


def _complain(watch: Watch, answer: Answer) -> None:
    watch.job.log(f"{answer.task.verb} {answer.task.member_id}: {answer.status}. {answer.message}".strip())
