"""Studies in real processes on a tiny dataset: exact weights, stop, kill, resume, more arms, the test set, damage."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from core.checkpoints.store import CARD, MEMBERS, find_checkpoint, load_checkpoint, read_card
from core.common import devices, locks
from core.common.errors import LabError
from core.common.results import FACTS
from core.data import load_images
from core.jobs import LocalEngine, Run, RunStore
from core.jobs.pool import WorkerPool
from core.jobs.store import WORKER_LOCK
from core.regularization.analysis import best_variant, selected_runs, split_of, summary
from core.regularization.arms import parse_arm
from core.regularization.kind import STUDY
from core.regularization.results import StudyResult
from core.regularization.store import STUDIES, extend_study, member_store, read_study
from core.regularization.study import StudyConfig
from core.training.config import TrainConfig
from tests.tiny import CLASSES, write_class_folders
from tests.unit.in_process import finish

pytestmark = pytest.mark.slow

TIMEOUT_S = 180.0
STEPS, EVALUATIONS, SIZE = 100, 10, 40
TUNED = "early_stopping=1/50"


def wait(until: Callable[[], bool], told: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not until():
        assert time.monotonic() < deadline, told()
        time.sleep(0.005)


def wait_end(engine: LocalEngine, run_id: str) -> Run:
    wait(lambda: not engine.state(run_id).active, lambda: (engine.store.get(run_id), engine.store.log(run_id)))
    return engine.store.get(run_id)


def process(run: Path) -> psutil.Process:
    return psutil.Process(int((run / WORKER_LOCK).read_text().split()[0]))


def wait_gone(*processes: psutil.Process) -> None:
    """Until none of them lives; what nobody has collected yet is dead, too."""

    def dead(process: psutil.Process) -> bool:
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait(lambda: all(map(dead, processes)), lambda: processes)


class Caught(NamedTuple):
    """One run of a study that stands still in the middle, and the processes about it."""

    member: Run
    process: psutil.Process
    worker: psutil.Process


def catch(store: RunStore, study_id: str, number: int) -> Caught:
    """Hold the process of a study's run of this number as soon as it has saved its state once."""
    members = member_store(store, study_id)
    member_id = store.config(study_id).members()[number].id

    wait(
        lambda: any(run.id == member_id and run.status == "running" and run.saved_step for run in members.list()),
        lambda: (store.get(study_id), store.log(study_id)),
    )
    held = process(members.folder(member_id))
    held.suspend()
    assert not (members.folder(member_id) / STUDIES.part_file).exists(), (
        "it was too fast to be held: give it more steps"
    )
    return Caught(members.get(member_id), held, process(store.folder(study_id)))


def results(store: RunStore, study_id: str) -> dict[str, dict[str, Any]]:
    """What each run of a study gave, without the seconds that it took."""
    paths = sorted((store.folder(study_id) / MEMBERS).glob(f"*/{STUDIES.part_file}"))
    return {path.parent.name: json.loads(path.read_text()) | {"seconds": 0.0} for path in paths}


def figures(store: RunStore, study_id: str) -> dict[str, Any]:
    """The weights of each run and what its card says of them."""
    found = {}
    for folder in sorted((store.folder(study_id) / MEMBERS).iterdir()):
        if (folder / "best" / CARD).exists():
            card = read_card(folder / "best")
            metrics = {name: value for name, value in card.metrics.items() if name not in ("training_seconds", "run")}
            found[folder.name] = (card.weights_sha256, card.step, metrics, card.calibration)
    return found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shapes of which every third lies in the folder of another class, so that validation accuracy goes up and down."""
    folder = write_class_folders(tmp_path_factory.mktemp("confusing"))
    for index in range(0, 60, 3):
        paths = [folder / "train" / label / f"{index:04d}.png" for label in CLASSES]
        images = [path.read_bytes() for path in paths]
        for path, image in zip(paths, images[1:] + images[:1], strict=True):
            path.write_bytes(image)
    return f"folder:{folder}"


@pytest.fixture(scope="module")
def config(dataset: str) -> StudyConfig:
    """Eight runs. Early stopping with both patiences keeps earlier weights: one stops at once, the other goes on."""
    return StudyConfig(
        dataset=dataset,
        arms=("l2=0.5", TUNED),
        train_sizes=(SIZE,),
        seeds=2,
        steps=STEPS,
        batch_size=8,
        evaluations=EVALUATIONS,
        device="cpu",
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for stores. Nothing goes on working there after a test that failed."""
    folder = tmp_path_factory.mktemp("lab")
    yield folder
    for lock in filter(locks.is_held, folder.rglob(WORKER_LOCK)):
        process(lock.parent).kill()


@pytest.fixture(scope="module")
def store(lab: Path) -> RunStore:
    return RunStore(lab / "runs")


@pytest.fixture(scope="module")
def calm(store: RunStore, config: StudyConfig) -> str:
    """The undisturbed study, at its end, with two processes."""
    study = store.create(config, "calm", kind=STUDY.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        run = finish(store, study, WorkerPool)
    assert run.status == "finished", run.message
    return study


@pytest.fixture(scope="module")
def wild(store: RunStore, config: StudyConfig) -> str:
    """A study of three runs, one of which diverges, at its end."""
    changed = config.replace(arms=("l2=10", "dropout"), seeds=1, steps=30, evaluations=3, lr=10.0)
    study = store.create(changed, "wild", kind=STUDY.name)
    finish(store, study)
    return study


class Rough(NamedTuple):
    store: RunStore
    study: str
    half_way: StudyResult


@pytest.fixture(scope="module")
def rough(config: StudyConfig, lab: Path) -> Rough:
    """The calm study again, with one process instead of several, killed in the middle; one of its processes dies, too."""
    store = RunStore(lab / "rough")
    engine = LocalEngine(store, slots=devices.cores())
    study = store.create(config, "rough", kind=STUDY.name)

    engine.submit(study)
    member, held, worker = catch(store, study, 6)
    assert worker.children() == [held]
    with pytest.raises(LabError, match="still running"):
        extend_study(store, study, config.extended(seeds=3))
    worker.kill()
    wait(lambda: not locks.is_held(store.folder(study) / WORKER_LOCK))
    held.resume()  # it sees that the study is gone, and saves
    wait_gone(held, worker)
    after = member_store(store, study).get(member.id)
    assert after.status == "stopped"
    assert STEPS > after.step == after.saved_step >= (member.saved_step or 0) > 0
    half_way = read_study(store, study)

    engine.submit(study)
    _, held, worker = catch(store, study, 7)
    held.kill()
    run = wait_end(engine, study)
    assert run.status == "finished", run.message
    wait_gone(worker)
    assert "died" in store.log(study)
    return Rough(store, study, half_way)


def test_a_finished_study_has_trained_every_run_to_its_end(calm: str, store: RunStore, config: StudyConfig) -> None:
    with pytest.raises(LabError, match="add arms or seeds"):
        LocalEngine(store, slots=1).submit(calm)
    run, result = store.get(calm), read_study(store, calm)
    assert run.config == config
    assert run.step == run.total_steps == 8 * STEPS
    assert run.parts_done == result.done == len(result.members) == 8
    assert run.message.startswith("8 of 8 runs finished. ")
    assert result.name == "calm"
    assert result.classes == ("circle", "cross", "square")
    assert result.sizes == {"train": 162, "validation": 18, "test": 60}
    assert set(result.made) == {"hardware", "versions", "code", "date"}
    for item in result.members:
        assert item.status == "finished"
        assert item.curve.step == tuple(range(10, item.step + 1, 10))
        assert item.kept_step in item.curve.step
        place = item.curve.step.index(item.kept_step)
        assert item.val_accuracy == item.curve.val_accuracy[place]
        assert item.train_accuracy == item.curve.train_accuracy[place]
        if not item.variant.startswith("early"):
            assert item.kept_step == item.step == STEPS
    patient, hasty = ([item for item in result.members if item.variant == f"early_stopping={n}"] for n in (50, 1))
    assert min(item.kept_step for item in patient) < min(item.step for item in patient) == STEPS
    assert all(item.kept_step < item.step < STEPS for item in hasty)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 6])
def test_kept_weights_are_those_of_training_by_hand(
    calm: str, store: RunStore, config: StudyConfig, number: int
) -> None:
    import torch

    from core.training.results import EvalResult
    from core.training.session import TrainSession
    from core.training.trainer import train

    member, item = config.members()[number], read_study(store, calm).members[number]
    session = TrainSession.start(config.train_config(member), load_images(config.dataset), threads=1)
    for result in train(session):
        if isinstance(result, EvalResult) and result.step == item.kept_step:
            break
    kept = load_checkpoint(find_checkpoint(item.checkpoint, store.root))
    assert kept.card.step == item.kept_step
    ours, theirs = session.eval_model().state_dict(), kept.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_neither_processes_nor_interruptions_change_anything(calm: str, store: RunStore, rough: Rough) -> None:
    assert results(store, calm) == results(rough.store, rough.study)
    assert figures(store, calm) == figures(rough.store, rough.study) != {}
    assert store.get(calm).message == rough.store.get(rough.study).message
    many, one = read_study(store, calm).made["hardware"], read_study(rough.store, rough.study).made["hardware"]
    assert one.endswith(", 1 process with a thread each")
    assert many != one or psutil.virtual_memory().total < 8e9


def test_a_study_that_was_killed_half_way_can_be_read(rough: Rough) -> None:
    result = rough.half_way
    assert [item.status for item in result.members] == ["finished"] * 6 + ["stopped", "waiting"]
    assert 0 < result.members[6].step < STEPS
    assert result.members[6].val_accuracy is None
    assert result.members[7].checkpoint == ""
    assert split_of(result) == "validation"
    assert all(item.test_accuracy is None for item in result.members)
    rows = {row.arm: row for row in summary(result)}
    assert rows["l2=0.5"].verdict.kind in ("helps", "hurts", "noise")
    assert rows["l2=0.5"].verdict.seeds == 2


def test_the_test_set_is_looked_at_for_what_was_chosen_only(calm: str, store: RunStore) -> None:
    result = read_study(store, calm)
    assert split_of(result) == "test"
    picked = best_variant(result, parse_arm(TUNED), SIZE)
    assert {item.variant for item in selected_runs(result)} == {"none", "l2=0.5", picked}
    for item in result.members:
        card = find_checkpoint(item.checkpoint, store.root).card
        wanted = item.variant in ("none", "l2=0.5", picked)
        assert (item.test_accuracy is not None) is wanted
        assert (len(item.test_per_class) == 3) is wanted
        assert any(name.startswith("test") for name in card.metrics) is wanted
        assert card.metrics.get("test_accuracy") == item.test_accuracy


def test_a_run_that_diverges_is_told_and_the_others_are_judged(wild: str, store: RunStore) -> None:
    run = store.get(wild)
    assert run.status == "finished"
    assert run.message.startswith("2 of 3 runs finished. ")
    result = read_study(store, wild)
    assert [item.variant for item in result.members] == ["none", "l2=10", "dropout=0.3"]
    assert [item.status for item in result.members] == ["finished", "failed", "finished"]
    assert "no longer a finite number" in result.members[1].message
    assert [item.test_accuracy is None for item in result.members] == [False, True, False]
    assert split_of(result) == "test"
    assert {row.arm for row in summary(result) if row.mean is not None} == {"none", "dropout=0.3"}


def test_damaged_runs_are_trained_again_while_seeds_and_sizes_are_added(wild: str, store: RunStore) -> None:
    before, weights = results(store, wild), figures(store, wild)
    members = store.folder(wild) / MEMBERS
    none, failed, dropout = (members / member.id for member in store.config(wild).members())
    shutil.rmtree(none / "best")
    (failed / "config.json").write_text("{")
    (dropout / STUDIES.part_file).write_text('{"variant": 3')
    (store.folder(wild) / FACTS).write_text('{"sizes": []}')
    result = read_study(store, wild)
    assert [item.status for item in result.members] == ["finished", "failed", "finished"]
    assert (result.members[0].checkpoint, result.classes) == ("", ())

    wider = store.config(wild).extended(train_sizes=(16,), seeds=2)
    extend_study(store, wild, wider)
    run = finish(store, wild)
    assert run.status == "finished", run.message
    result = read_study(store, wild)
    assert [(item.train_size, item.seed) for item in result.members] == [
        (size, seed) for seed in (0, 1) for size in (16, SIZE) for _ in range(3)
    ]
    assert result.done == 12
    after = results(store, wild)
    assert {name: after[name] for name in before} == before
    assert figures(store, wild).items() >= weights.items()


def test_a_new_arm_leaves_the_old_runs_alone(calm: str, store: RunStore) -> None:
    members = store.folder(calm) / MEMBERS
    before = {path: path.read_bytes() for path in members.glob("*/**/*") if path.is_file()}
    with pytest.raises(LabError, match="is not a study"):
        extend_study(store, store.create(TrainConfig()), store.config(calm))
    with pytest.raises(LabError, match="Only arms, sizes and seeds"):
        extend_study(store, calm, store.config(calm).replace(steps=STEPS + 1))
    extend_study(store, calm, store.config(calm).extended(arms=("dropout=0.5",)))
    run = store.get(calm)
    assert (run.status, run.resumable, run.keeps_work) == ("stopped", True, True)
    assert [item.status for item in read_study(store, calm).members].count("waiting") == 2
    run = finish(store, calm)
    assert run.status == "finished", run.message
    assert run.message.startswith("10 of 10 runs finished. ")
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(members.glob(f"*/{STUDIES.part_file}"))) == 10
    new = [item for item in read_study(store, calm).members if item.variant == "dropout=0.5"]
    assert [item.test_accuracy is not None for item in new] == [True, True]
