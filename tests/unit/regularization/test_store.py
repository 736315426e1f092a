"""Studies on disk: damage, names of checkpoints, deleting, renaming, and studies that cannot be done. Nothing is trained
but where a run was damaged."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.checkpoints.store import MEMBERS, find_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from core.common import locks
from core.common.errors import LabError
from core.common.results import FACTS
from core.data import load_images
from core.jobs import LocalEngine, RunStore
from core.jobs.store import WORKER_LOCK
from core.regularization.analysis import split_of
from core.regularization.kind import MEMBER, STUDY
from core.regularization.results import waiting
from core.regularization.store import STUDIES, extend_study, read_study
from core.regularization.study import StudyConfig
from core.training.config import TrainConfig
from tests.tiny import write_class_folders
from tests.unit.in_process import finish


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.fixture(scope="module")
def config(tiny_dataset_folder: Path) -> StudyConfig:
    return StudyConfig(
        dataset=f"folder:{tiny_dataset_folder}",
        arms=("dropout=0.3",),
        train_sizes=(16,),
        seeds=1,
        steps=4,
        batch_size=8,
        evaluations=1,
        device="cpu",
    )


@pytest.fixture(scope="module")
def original(config: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunStore, str]:
    """A study of two runs that are over, but for the test set: with networks as they were initialised."""
    from core.training.session import TrainSession

    store = RunStore(tmp_path_factory.mktemp("original") / "runs")
    study = store.create(config, "made by hand", kind=STUDY.name)
    members = RunStore(store.folder(study) / MEMBERS)
    for member in config.members():
        members.create(config.train_config(member), member.title, kind=MEMBER.name, run_id=member.id)
        session = TrainSession.start(config.train_config(member), load_images(config.dataset), threads=1)
        save_checkpoint(members.folder(member.id) / "best", session.eval_model(), session.card(member.title))
        over = {"status": "finished", "step": 4, "kept_step": 4, "val_accuracy": 0.5, "train_accuracy": 0.75}
        STUDIES.write_part(members.folder(member.id), dataclasses.replace(waiting(member), **over))
        with members.locked():
            members.write_status(member.id, status="finished", step=4)
    with store.locked():
        store.write_status(study, status="stopped", parts_done=2)
    return store, study


@pytest.fixture
def store(original: tuple[RunStore, str], tmp_path: Path) -> RunStore:
    """A copy of it, to be damaged."""
    shutil.copytree(original[0].root, tmp_path / "runs")
    return RunStore(tmp_path / "runs")


@pytest.fixture
def study(original: tuple[RunStore, str]) -> str:
    return original[1]


@pytest.fixture
def first(store: RunStore, study: str, config: StudyConfig) -> Path:
    """The folder of the study's first run."""
    return store.folder(study) / MEMBERS / config.members()[0].id


def statuses(store: RunStore, study: str) -> list[str]:
    return [item.status for item in read_study(store, study).members]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"variant": 3}',
        '{"variant": "none", "train_size": 16, "seed": 0, "val_accuracy": 7}',
        '{"variant": "none", "train_size": 16, "seed": 0, "curve": {"step": [1]}}',
        '{"variant": "none", "train_size": 16, "seed": 0, "curve": null}',
        '{"variant": "none", "train_size": 16, "seed": 0, "banana": 1}',
    ],
)
def test_a_damaged_file_of_a_run_or_of_the_facts_is_no_stop(
    store: RunStore, study: str, first: Path, content: str
) -> None:
    (store.folder(study) / FACTS).write_text(content)
    assert read_study(store, study).sizes == {}
    (first / "config.json").write_text(content)
    assert statuses(store, study) == ["finished", "finished"]
    (first / STUDIES.part_file).write_text(content)
    assert statuses(store, study)[1:] == ["finished"]
    assert statuses(store, study)[0] in ("waiting", "failed")
    (first / "status.json").write_text(content)
    (first / "metrics.jsonl").write_text(content)
    assert statuses(store, study)[1:] == ["finished"]
    shutil.rmtree(first)
    assert statuses(store, study) == ["waiting", "finished"]
    shutil.rmtree(store.folder(study) / MEMBERS)
    assert statuses(store, study) == ["waiting", "waiting"]
    assert split_of(read_study(store, study)) == "validation"


def test_facts_and_results_of_odd_types_are_left_out(store: RunStore, study: str, first: Path) -> None:
    for facts in (
        {"classes": 3, "sizes": {}, "made": {}},
        {"classes": [], "sizes": {"train": "many"}, "made": {}},
        {"classes": [], "sizes": [], "made": {}},
        {"classes": [], "sizes": {}, "made": None},
    ):
        (store.folder(study) / FACTS).write_text(json.dumps(facts))
        result = read_study(store, study)
        assert (result.classes, result.sizes, result.made) == ((), {}, {})
    # A result that was copied from another run counts for the run in whose folder it is.
    edit(
        first / STUDIES.part_file,
        lambda values: values.update(variant="dropout=0.3", seed=7, train_size=99, checkpoint="x"),
    )
    item = read_study(store, study).members[0]
    assert (item.variant, item.seed, item.train_size) == ("none", 0, 16)
    assert item.checkpoint == f"{study}/{first.name}"


def test_a_study_of_another_version_says_so_and_stops_nothing(store: RunStore, study: str) -> None:
    edit(store.folder(study) / "config.json", lambda values: values["config"].update(banana=1))
    run = store.get(study)
    assert (run.status, run.resumable) == ("failed", False)
    assert "banana" in run.message
    assert "setting named banana in this version" in run.message
    assert [item.id for item in store.list()] == [study]
    for call in (lambda: read_study(store, study), lambda: LocalEngine(store, slots=1).submit(study)):
        with pytest.raises(LabError, match="banana"):
            call()
    with pytest.raises(LabError, match="banana"):
        extend_study(store, study, StudyConfig())
    (store.folder(study) / "config.json").write_text("{")
    with pytest.raises(LabError, match="is not a study"):
        read_study(store, study)
    store.delete(study)
    assert store.list() == []


def test_only_a_study_is_read_as_one(store: RunStore) -> None:
    with pytest.raises(LabError, match="is not a study"):
        read_study(store, store.create(TrainConfig()))
    for name in ("nowhere", "../x", ""):
        with pytest.raises(LabError):
            read_study(store, name)


def test_the_checkpoint_of_a_run_classifies(store: RunStore, study: str, config: StudyConfig) -> None:
    from core.inference.images import classify

    names = [item.checkpoint for item in read_study(store, study).members]
    assert names == [f"{study}/{member.id}" for member in config.members()]
    for name, member in zip(names, config.members(), strict=True):
        reference = find_checkpoint(name, store.root)
        assert (reference.name, reference.origin, reference.label) == (name, "run", member.title)
        (answer,) = classify(load_checkpoint(reference), np.zeros((1, 32, 32, 3), np.uint8))
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-5)
    assert {reference.origin for reference in list_checkpoints(store.root)} == {"shipped"}


def test_names_that_lead_elsewhere_are_refused(store: RunStore, study: str, first: Path, tmp_path: Path) -> None:
    shutil.copytree(first / "best", tmp_path / "runs" / "elsewhere" / "best")
    shutil.copytree(first / "best", store.folder(study) / "best-of-all" / "best")
    ends = (
        "/..",
        "/.",
        "/../elsewhere",
        "/../elsewhere/best",
        f"/{first.name}/best",
        f"/{first.name}/",
        "/best-of-all",
        f"/{MEMBERS}",
        "/best",
        "/last",
        "//",
        f"/{first.name}\n",
        "/" + "x" * 300,
        "/a\0b",
        "/%2e",
        "/no",
    )
    for name in (*(study + end for end in ends), f"../runs/{study}/{first.name}", f"/{first.name}", f"{first.name}"):
        with pytest.raises(LabError, match="no checkpoint named"):
            find_checkpoint(name, store.root)
    assert find_checkpoint(f"{study}/{first.name}", store.root).folder == first / "best"


def test_a_study_is_renamed_and_deleted_as_a_whole(store: RunStore, study: str, first: Path) -> None:
    store.rename(study, "another name")
    assert store.get(study).name == read_study(store, study).name == "another name"
    handle = locks.take(first / WORKER_LOCK)  # a process of a worker that was killed, and saves its state
    assert handle is not None
    with pytest.raises(LabError, match="is still running"):
        store.delete(study)
    os.close(handle)
    store.delete(study)
    assert not [item for item in store.root.iterdir() if not item.name.startswith(".")]


@pytest.mark.slow
def test_studies_that_cannot_be_done_say_why_and_may_be_resumed(
    store: RunStore, study: str, first: Path, config: StudyConfig, tmp_path: Path
) -> None:
    small = write_class_folders(tmp_path / "small", train=8, test=2)
    large = config.replace(dataset=f"folder:{small}", train_sizes=(16, 1000))
    vanished = config.replace(dataset=f"folder:{tmp_path / 'gone'}")
    impossible = config.replace(device="cuda:99")
    changed = store.create(config, kind=STUDY.name)
    facts = {"classes": [], "sizes": {}, "made": {}, "data": {"classes": "a\nb"}}
    (store.folder(changed) / FACTS).write_text(json.dumps(facts))
    next((first / "best").glob("*.safetensors")).write_bytes(b"damaged")
    cases = {
        store.create(large, kind=STUDY.name): "1,000 is not valid",
        store.create(vanished, kind=STUDY.name): f"no folder {tmp_path / 'gone'}",
        store.create(impossible, kind=STUDY.name): "2 of 2 runs did not finish (There is no device",
        changed: "have changed since this study began",
        study: f"delete {first}, and it trains that run again",
    }
    for run_id, words in cases.items():
        run = finish(store, run_id)
        assert run.status == "failed"
        assert words in run.message
        assert "\n" not in run.message
        assert run.resumable
        assert "Traceback" not in store.log(run_id)
        assert not any(item.test_accuracy for item in read_study(store, run_id).members if run_id != study)

    shutil.rmtree(first)  # as it said
    run = finish(store, study)
    assert run.status == "finished", run.message
    result = read_study(store, study)
    assert split_of(result) == "test"
    assert result.members[0].curve.step == (4,)
    assert result.members[1].curve.step == (), "the other one was trained again"
