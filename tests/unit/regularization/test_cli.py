"""`python -m core study`: one small study from start to end, looked at, added to, exported; and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from core.jobs import Run, RunStore
from core.jobs.foreground import describe
from core.regularization.cli import command_of
from core.regularization.kind import STUDY
from core.regularization.results import StudyResult
from core.regularization.store import STUDIES, member_store, read_study
from core.regularization.study import StudyConfig
from core.regularization.techniques import TECHNIQUES
from core.training.config import TrainConfig
from tests.unit.in_process import follow
from tests.unit.terminal import refused, run_main

pytestmark = pytest.mark.slow

MEMBERS = 4
"""Of the small study: two arms, two seeds."""


@pytest.fixture(scope="module")
def finished(home: Path, tiny_dataset_folder: Path) -> tuple[dict[str, Any], str]:
    """What `study --json` printed in the foreground, and what it said on stderr meanwhile."""
    output, said = follow(
        "study",
        "start",
        *("--arms", "none,dropout=0.3", "--train-sizes", "40", "--seeds", "2", "--steps", "6", "--batch-size", "8"),
        *("--evaluations", "2", "--dataset", f"folder:{tiny_dataset_folder}", "--name", "small", "--json"),
    )
    return json.loads(output), said


def test_a_study_ends_with_a_verdict(finished: tuple[dict[str, Any], str], tiny_dataset_folder: Path) -> None:
    values, said = finished
    assert (values["status"], values["name"], values["split"]) == ("finished", "small", "test")
    assert values["runs"] == values["runs_done"] == MEMBERS
    assert values["config"]["dataset"] == f"folder:{tiny_dataset_folder}"
    rows = {row["arm"]: row for row in values["arms"]}
    assert set(rows) == {"none", "dropout=0.3"}
    assert rows["none"]["verdict"]["kind"] == "baseline"
    assert rows["dropout=0.3"]["verdict"]["kind"] in ("helps", "hurts", "noise")
    assert " points)" in rows["dropout=0.3"]["verdict"]["words"]
    result = read_study(RunStore(), values["study_id"])
    for row in rows.values():
        runs = result.finished_runs(row["variant"], 40)
        assert (row["train_size"], row["seeds"], row["split"]) == (40, 2, "test")
        assert row["mean"] == pytest.approx(sum(item.test_accuracy or 0 for item in runs) / 2)
        assert row["half_width"] >= 0
        assert row["gap"] == pytest.approx(row["train_mean"] - row["mean"])
    assert [item.curve.step for item in result.members] == [(3, 6)] * MEMBERS, "as many steps for all"
    assert [(item["step"], item["kept_step"]) for item in values["members"]] == [(6, 6)] * MEMBERS
    assert f"{MEMBERS} runs of 6 steps · about" in said, "the cost, before it starts"
    assert "\r" not in said


def test_a_study_is_exported_as_it_is(
    home: Path, finished: tuple[dict[str, Any], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_id, exported = finished[0]["study_id"], tmp_path / "exported.json"
    code, output, said = run_main(capsys, "study", "export", study_id, str(exported))
    assert (code, output) == (0, "")
    assert "exported.json" in said
    result = StudyResult.from_dict(json.loads(exported.read_text()))
    on_disk = read_study(RunStore(), study_id)
    assert result.members == StudyResult.from_dict(on_disk.to_dict()).members
    assert (result.config, result.classes, result.sizes) == (on_disk.config, on_disk.classes, on_disk.sizes)
    assert result.made["command"] == command_of(on_disk.config)
    assert float(result.made["hours"]) > 0
    assert on_disk.made.items() < result.made.items()
    assert ": " not in exported.read_text().partition('"made"')[0], "compact"


def test_a_study_can_be_shown(finished: tuple[dict[str, Any], str], capsys: pytest.CaptureFixture[str]) -> None:
    values, _ = finished
    code, output, _ = run_main(capsys, "study", "show", values["study_id"], "--json")
    assert code == 0
    assert json.loads(output) == values
    code, output, said = run_main(capsys, "study", "show", values["study_id"])
    assert (code, said) == (0, "")
    assert f"{MEMBERS} of {MEMBERS} runs over" in output
    assert "Accuracy on the test images" in output
    assert values["headline"] in output
    row = next(row for row in values["arms"] if row["arm"] == "dropout=0.3")
    line = next(line for line in output.splitlines() if "Dropout" in line)
    assert line.startswith("40  ")
    assert line.endswith(row["verdict"]["words"])


def test_the_list_of_runs_shows_it_as_a_study(
    finished: tuple[dict[str, Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    study_id = finished[0]["study_id"]
    _, output, _ = run_main(capsys, "runs")
    line = next(line for line in output.splitlines() if line.startswith(study_id))
    assert "4 of 4 runs" in line
    assert "%" not in line
    _, output, _ = run_main(capsys, "runs", study_id)
    lines = output.splitlines()
    assert "runs: 4 of 4" in lines
    assert "kind: study" in lines
    assert lines[-1].startswith("config: model=simple_cnn")
    assert "arms=('none', 'dropout=0.3')" in lines[-1]
    assert not [line for line in lines if line.startswith(("epoch", "saved_step", "has_checkpoint", "study"))]
    code, output, said = run_main(capsys, "runs", study_id, "--metrics")
    assert (code, output.strip()) == (0, "[]")
    assert f"study show {study_id}" in said
    assert json.loads(run_main(capsys, "runs", study_id, "--json")[1])["members_done"] == MEMBERS


def test_a_study_that_is_half_way_can_be_shown(
    finished: tuple[dict[str, Any], str], queue_only: None, capsys: pytest.CaptureFixture[str]
) -> None:
    values, _ = finished
    config = StudyConfig.from_dict(values["config"]).extended(seeds=3)
    store = RunStore()
    study_id = store.create(config, "half", kind=STUDY.name)
    code, output, said = run_main(capsys, "study", "show", study_id)
    assert code == 0
    assert "0 of 6 runs over" in output
    assert "No run has finished yet" in said
    assert f"resume {study_id}" in said
    theirs, ours = member_store(store, values["study_id"]), member_store(store, study_id)
    for folder in theirs.root.glob("*-n40-s*"):
        shutil.copytree(folder, ours.root / folder.name)
    shown = json.loads(run_main(capsys, "study", "show", study_id, "--json")[1])
    assert (shown["runs"], shown["runs_done"], shown["split"]) == (6, 4, "validation")
    assert [row["seeds"] for row in shown["arms"]] == [2, 2]
    assert "Accuracy on validation" in run_main(capsys, "study", "show", study_id)[1]
    assert store.get(study_id).status == "stopped", "looking starts nothing"


def test_what_is_added_is_trained_and_nothing_else(finished: tuple[dict[str, Any], str]) -> None:
    """The last test of the small study: it has another arm afterwards."""
    study_id = finished[0]["study_id"]
    members = member_store(RunStore(), study_id)

    def parts() -> dict[str, bytes]:
        return {path.parent.name: path.read_bytes() for path in members.root.glob(f"*/{STUDIES.part_file}")}

    before = parts()
    assert len(before) == MEMBERS
    output, said = follow("study", "resume", study_id, "--arms", "l2=0.1", "--json")
    values = json.loads(output)
    assert (values["study_id"], values["status"], values["split"]) == (study_id, "finished", "test")
    assert "2 runs of 6 steps" in said
    assert {row["arm"] for row in values["arms"]} == {"none", "dropout=0.3", "l2=0.1"}
    after = parts()
    assert len(after) == 6
    assert before.items() < after.items(), "what there was is left as it was"


def test_an_interrupted_study_tells_how_to_go_on(
    queue_only: None, tiny_dataset_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("core.jobs.foreground.follow", lambda engine, name: (engine.state(name), signal.SIGINT))
    arguments = ("--arms", "dropout", "--train-sizes", "40", "--dataset", f"folder:{tiny_dataset_folder}")
    code, output, said = run_main(capsys, "study", "start", *arguments)
    assert code == 130
    assert "0 of 6 runs over" in output
    study_id = output.partition(":")[0]
    assert f"python -m core study resume {study_id}" in said
    code, output, said = run_main(capsys, "study", "resume", study_id, "--detach", "--json")
    assert (code, json.loads(output)["status"]) == (0, "queued")
    assert "6 runs of" in said
    assert "queued already" in refused(capsys, "study", "resume", study_id)


def test_a_single_seed_is_told_to_be_no_verdict(
    queue_only: None, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = f"folder:{tiny_dataset_folder}"
    arguments = ("study", "start", "--arms", "dropout", "--dataset", dataset, "--train-sizes", "40")
    code, output, said = run_main(capsys, *arguments, "--seeds", "1", "--detach")
    assert code == 0
    assert RunStore().get(output.strip()).status == "queued"
    assert "With one seed there will be no verdict" in said
    code, output, said = run_main(capsys, *arguments, "--detach")
    assert "no verdict" not in said
    assert RunStore().config(output.strip()).seeds == StudyConfig().seeds


def test_the_command_of_a_study_makes_it_again(
    queue_only: None, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = StudyConfig(
        model="fast_resnet",
        dataset=f"folder:{tiny_dataset_folder}",
        arms=("augment=1+dropout=0.1/0.25", "trivial_augment"),
        train_sizes=(40, 60),
        steps=7,
        evaluations=1,
        lr=1.5e-5,
        model_config={"depth": 2, "note": "a b"},
        device="cpu",
    )
    for config in (odd, StudyConfig(dataset=odd.dataset, train_sizes=(9,))):
        words = shlex.split(command_of(config))
        assert words[:5] == ["python", "-m", "core", "study", "start"]
        code, output, _ = run_main(capsys, *words[3:], "--detach")
        assert code == 0
        assert RunStore().config(output.strip()) == config


def test_a_running_study_is_described_by_its_runs() -> None:
    study = StudyConfig(arms=("l2", "dropout", "cutout", "mixup"), train_sizes=(1, 2, 3, 4), seeds=3, steps=10)
    run = Run(
        id="x",
        name="x",
        kind=STUDY.name,
        config=study,
        status="running",
        stage="training",
        step=150,
        total_steps=600,
        parts_done=12,
        examples_per_s=4600.4,
        seconds_left=200,
    )
    assert describe(run) == (0.25, "runs 12 of 60 · 4,600 images/s · 3:20 left")
    tests = dataclasses.replace(run, stage="measuring on the test images")
    assert describe(tests)[1] == "runs 12 of 60 · measuring on the test images"
    assert describe(dataclasses.replace(run, status="stopping", seconds_left=None))[1].endswith(" · stopping")
    plain = Run(id="x", name="x", kind="train", config=TrainConfig(), status="running", figures={"epoch": 1.5})
    assert describe(plain)[1] == "epoch 1.50"


def test_techniques_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run_main(capsys, "study", "techniques", "--json")[1])
    assert [row["name"] for row in rows] == list(TECHNIQUES)
    _, output, _ = run_main(capsys, "study", "techniques")
    for kind in TECHNIQUES.values():
        assert f"{kind.name} ({kind.title}): " in output
        assert kind.how in output
        assert kind.url in output
    assert f"dropout (Dropout): probability {TECHNIQUES['dropout'].default:g}, from 0 to 0.95, tune: 0.1/" in output
    assert "Only with simple_cnn." in output


def test_the_example_needs_no_training(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run_main(capsys, "study", "show", "example", "--json")
    values = json.loads(output)
    assert (code, values["study_id"]) == (0, "example")
    assert values["runs_done"] == values["runs"]
    assert {row["verdict"]["kind"] for row in values["arms"]} >= {"baseline", "helps"}


MISTAKES = [
    (("start", "--arms", "none"), "No technique is chosen"),
    (("start", "--arms", "none,pancakes"), "pancakes"),
    (("start", "--arms", "dropout=1.5"), "from 0 to 0.95"),
    (("start", "--arms", "dropout=0.3", "--arms", "dropout=0.30"), "given twice"),
    (("start", "--arms", "stochastic_depth"), "cannot be used with simple_cnn"),
    (("start", "--train-sizes", "0"), "from 1 to"),
    (("start", "--train-sizes", "many"), "whole numbers"),
    (("start", "--seeds", "0"), "seeds must be a whole number"),
    (("start", "--steps", "3"), "only 3 steps"),
    (("start", "--model", "char_lstm"), "image classifier"),
    (("start", "--dataset", "tiny_shakespeare"), "needs images"),
    (("export", "example", "/nowhere/at/all.json"), "in a folder that is there"),
    (("resume", "nothing"), "There is no run"),
    (("show", "../x"), "run id"),
    (("show", "x", "--seeds", "5"), "--seeds"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(case[0])[:40] for case in MISTAKES])
def test_a_mistake_is_one_sentence(
    home: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "study", *arguments)


def test_more_images_than_there_are_is_told_before(
    home: Path, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "study", "start", "--train-sizes", "40,500", "--dataset", f"folder:{tiny_dataset_folder}")
    assert "500 is not valid" in said
    assert "has 162 training images" in said


def test_what_cannot_go_on_is_told(
    home: Path, queue_only: None, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore()
    assert "is not a study" in refused(capsys, "study", "resume", store.create(TrainConfig()))
    config = StudyConfig(arms=("dropout=0.3",), dataset=f"folder:{tiny_dataset_folder}", train_sizes=(40,))
    study_id = store.create(config, "mine", kind=STUDY.name)
    assert "--lr" in refused(capsys, "study", "resume", study_id, "--lr", "0.1")
    assert "has the arm dropout=0.3 already" in refused(capsys, "study", "resume", study_id, "--arms", "dropout=0.3")
    assert "500 is not valid" in refused(capsys, "study", "resume", study_id, "--train-sizes", "500")
    assert store.config(study_id) == config, "nothing was added"
    store.write_status(study_id, status="finished")
    assert "has finished: add" in refused(capsys, "study", "resume", study_id, "--seeds", "2")
    path = store.folder(study_id) / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"config": values["config"] | {"arms": ["pancakes"]}}))
    assert "pancakes" in refused(capsys, "study", "resume", study_id)
    assert "pancakes" in refused(capsys, "study", "show", study_id)
    path.write_text("{")
    assert "study" in refused(capsys, "study", "resume", study_id)
