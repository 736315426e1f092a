"""The command line as a person or a script meets it: output, exit codes, one sentence for each mistake."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.app import COMMANDS, GROUPS, main
from core.jobs import RunStore
from core.training.config import TrainConfig
from tests.tiny import draw
from tests.unit.in_process import follow
from tests.unit.terminal import ROOT, answer, refused, run_main, start, stop_reading


@pytest.fixture(scope="module")
def trained(home: Path, tiny_dataset_folder: Path) -> tuple[dict[str, Any], str]:
    """What `train --json` printed in the foreground, and what it said on stderr meanwhile."""
    output, said = follow(
        *("train", "--model", "simple_cnn", "--recipe", "default", "--epochs", "4", "--batch-size", "8", "--seed", "3"),
        *("--dataset", f"folder:{tiny_dataset_folder}", "--model-config", "dropout=0.1", "--no-compile", "--json"),
        *("--name", "from a terminal"),
    )
    return json.loads(output), said


def test_training_in_the_foreground_is_a_run_like_any_other(home: Path, trained: tuple[dict[str, Any], str]) -> None:
    values, said = trained
    assert values["status"] == "finished"
    assert values["checkpoint"] == values["run_id"]
    assert values["step"] == values["total_steps"] == 80
    assert values["config"]["model_config"] == {"dropout": 0.1}
    assert values["config"]["seed"] == 3
    assert values["config"]["lr"] == 4e-3, "what is not given is the recipe's"
    run = RunStore().get(values["run_id"])
    assert run.name == "from a terminal"
    assert run.figure("test_accuracy") == values["test_accuracy"] > 0.5
    assert "test accuracy" in said


def test_classify_answers_every_image_and_tells_bad_ones(
    trained: tuple[dict[str, Any], str], tiny_dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tiny_dataset_folder / "test" / "circle" / "0000.png"
    text = tmp_path / "text.png"
    text.write_text("no image")
    empty = tmp_path / "empty"
    empty.mkdir()
    files = [str(text), str(good), str(tmp_path / "missing.png"), str(empty), "nul\0.png"]
    code, output, said = run_main(capsys, "classify", *files, "--checkpoint", trained[0]["run_id"], "--json")
    rows = json.loads(output)
    assert code == 1
    assert [row["file"] for row in rows] == files
    assert ["error" in row for row in rows] == [True, False, True, True, True]
    assert len(said.splitlines()) == 4
    answer = rows[1]
    assert len(answer["top5"]) == 3
    assert sum(item["probability"] for item in answer["top5"]) == pytest.approx(1, abs=1e-5)
    assert answer["top5"][0]["label"] in ("circle", "cross", "square")
    assert isinstance(answer["likely_none_of_these"], bool)
    assert answer["latency_ms"] > 0
    code, output, _ = run_main(capsys, "classify", str(good), "--checkpoint", trained[0]["run_id"] + "/last")
    assert code == 0
    assert output.startswith(f"{good}: ")


def test_classify_takes_folders_and_writes_a_table(
    trained: tuple[dict[str, Any], str], tiny_dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "mine"
    shutil.copytree(tiny_dataset_folder / "test", root)
    (root / "notes.txt").write_text("no image, and not called one")
    (root / "odd, name.png").write_text("no image")
    expected = sorted(str(path) for path in root.rglob("*.png"))
    code, output, said = run_main(capsys, "classify", str(root), "--checkpoint", trained[0]["run_id"], "--csv")
    rows = list(csv.DictReader(output.splitlines()))
    assert code == 1
    assert sorted(row["file"] for row in rows) == expected
    (bad,) = (row for row in rows if row["error"])
    assert bad["file"].endswith("odd, name.png")
    assert bad["class"] == bad["probability"] == ""
    assert "odd, name.png" in said
    right = [Path(row["file"]).parent.name == row["class"] for row in rows if not row["error"]]
    assert sum(right) / len(right) > 0.5
    both = ("classify", str(root), "--checkpoint", trained[0]["run_id"], "--csv", "--json")
    code, _, said = run_main(capsys, *both)
    assert code == 2
    assert "--csv" in said


def test_classify_looks_at_the_chosen_square(
    trained: tuple[dict[str, Any], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    halves = [draw(label, np.random.default_rng(1)).resize((64, 64)) for label in ("circle", "cross")]
    Image.fromarray(np.concatenate(halves, axis=1)).save(tmp_path / "both.png")
    halves[1].save(tmp_path / "cross.png")
    command = ("classify", "--checkpoint", trained[0]["run_id"], "--json")
    (expected,) = answer(capsys, *command, str(tmp_path / "cross.png"))
    (found,) = answer(capsys, *command, str(tmp_path / "both.png"), "--square", "0.5,0,1")
    (central,) = answer(capsys, *command, str(tmp_path / "both.png"))
    assert found["top5"] == expected["top5"] != central["top5"]
    code, _, said = run_main(capsys, *command, str(tmp_path / "both.png"), "--square", "nan,0,1")
    assert code == 2
    assert "'nan,0,1' is not a square" in said


def test_a_file_name_that_is_no_text_is_answered_too(
    trained: tuple[dict[str, Any], str], tiny_dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    shutil.copy(tiny_dataset_folder / "test" / "circle" / "0000.png", odd)
    for json_flag in (["--json"], []):
        output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["classify", str(odd), "--checkpoint", trained[0]["run_id"], *json_flag]) == 0
        output.flush()
        written = output.buffer.getvalue().decode()
        assert [row["file"] for row in json.loads(written)] == [str(odd)] if json_flag else "caf\\udce9.png" in written


def test_evaluate_repeats_what_the_run_measured(
    trained: tuple[dict[str, Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    values = answer(capsys, "evaluate", "--checkpoint", trained[0]["run_id"], "--json")
    assert values["n"] == 60
    assert values["accuracy"] == trained[0]["test_accuracy"]
    assert values["interval"][0] <= values["accuracy"] <= values["interval"][1]
    assert [item["label"] for item in values["per_class"]] == ["circle", "cross", "square"]
    code, output, _ = run_main(capsys, "evaluate", "--checkpoint", trained[0]["run_id"], "--split", "validation")
    assert code == 0
    assert "18 validation images" in output


def test_what_there_is_can_be_listed(trained: tuple[dict[str, Any], str], capsys: pytest.CaptureFixture[str]) -> None:
    run_id = trained[0]["run_id"]
    for command, key in (("data list", "name"), ("models", "name"), ("runs", "run_id"), ("checkpoints", "name")):
        rows = answer(capsys, *command.split(), "--json")
        assert rows
        assert all(row[key] for row in rows)
        code, plain, _ = run_main(capsys, *command.split())
        assert code == 0
        assert rows[0][key] in plain
    datasets = {row["name"] for row in answer(capsys, "data", "list", "--json")}
    assert datasets == {"cifar10", "tiny_shakespeare", "shakespeare_complete"}
    models = {row["name"]: row for row in answer(capsys, "models", "--json")}
    assert models["simple_cnn"]["parameters"] == 42_442
    assert "default" in models["simple_cnn"]["recipes"]
    assert answer(capsys, "runs", run_id, "--json")["status"] == "finished"
    rows = answer(capsys, "runs", run_id, "--metrics")
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [20, 40, 60, 80]
    assert "finished" in run_main(capsys, "runs", run_id, "--log")[1]
    code, output, said = run_main(capsys, "runs", run_id, "--samples")
    assert (code, output) == (0, "")
    assert "an image classifier never" in said
    assert "name: new name" in run_main(capsys, "runs", run_id, "--rename", "new name")[1]


def test_runs_are_deleted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = RunStore().create(TrainConfig())
    assert run_main(capsys, "runs", run_id, "--delete")[0] == 0
    assert "There is no run" in refused(capsys, "runs", run_id)


def test_detached_training_is_queued_with_the_whole_path_of_its_data(
    home: Path, queue_only: None, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relative = os.path.relpath(tiny_dataset_folder)
    code, output, said = run_main(capsys, "train", "--dataset", f"folder:{relative}", "--epochs", "5000", "--detach")
    run_id = output.strip()
    assert code == 0
    assert f"python -m core runs {run_id}" in said
    run = RunStore().get(run_id)
    assert run.active
    assert run.config.dataset == f"folder:{tiny_dataset_folder}", "the worker has another working directory"


MISTAKES = [
    (("fly",), "fly"),
    (("study", "fly"), "fly"),
    (("train", "--bogus"), "--bogus"),
    (("train", "extra"), "extra"),
    (("train", "--epochs", "abc"), "abc"),
    (("train", "--epochs", "-1"), "epochs"),
    (("train", "--epochs"), "--epochs"),
    (("train", "--epochs", "1", "--epochs", "2"), "--epochs"),
    (("train", "--seed", "1.5"), "whole number"),
    (("train", "--seed", "1" + 400 * "0"), "seed must be a whole number"),
    (("train", "--optimizer", "adamant"), "adamw"),
    (("train", "--json=maybe"), "maybe"),
    (("train", "--model", "gpt"), "gpt"),
    (("train", "--recipe", "pancakes"), "pancakes"),
    (("train", "--dataset", "folder:/nowhere"), "/nowhere"),
    (("train", "--model-config", "dropout"), "KEY=VALUE"),
    (("resume", "../x"), "run id"),
    (("stop", "nothing"), "There is no run"),
    (("runs", "--delete"), "Which run"),
    (("runs", "x", "--log", "--delete"), "one of"),
    (("data", "list", "imagenet"), "imagenet"),
    (("data", "fetch", "imagenet"), "imagenet"),
    (("classify", "a.png", "--checkpoint", "nobody"), "nobody"),
    (("classify", "--checkpoint", "nobody"), "IMAGES"),
    (("classify", "a.png"), "--checkpoint"),
    (("worker", "x/../y"), "run id"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(case[0])[:40] for case in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_code_2(
    home: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, *arguments)
    assert words in said
    assert len(said) < 400


def test_a_usage_error_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in refused(capsys, "train", "--epochs", "\x1b[31m\n" + 1000 * "9" + "x")


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, alone, _ = run_main(capsys)
    assert code == 0
    assert alone == run_main(capsys, "--help")[1]
    assert not set(alone) & set("\x1b╭│"), "plain text"
    commands = re.findall(r"^  (\w+): \w", alone, re.MULTILINE)
    groups = {noun for noun, (_, verbs) in GROUPS.items() if verbs}
    assert set(commands) == groups | {name for names in COMMANDS.values() for name in names}
    for command in commands:
        code, output, _ = run_main(capsys, command, "--help")
        assert code == 0
        assert output.startswith(f"Usage: python -m core {command} ")
        for verb in re.findall(r"^  (\w+): \w", output.partition("\nCommands:")[2], re.MULTILINE):
            code, output, _ = run_main(capsys, command, verb, "--help")
            assert code == 0
            assert output.startswith(f"Usage: python -m core {command} {verb} ")
            assert "--lock-handle" not in output


@pytest.mark.slow
def test_a_reader_of_help_may_stop_reading() -> None:
    stop_reading(start("train", "--help"))


@pytest.mark.slow
def test_help_loads_nothing_heavy() -> None:
    script = "import sys; from core.app import main; main(['--help']); main(['study', 'start', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "core.app" in loaded, done.stderr
    assert not {"torch", "captum", "pandas", "plotly", "onnx", "scipy"} & set(loaded)


def test_an_error_is_shown_with_its_place_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("core.models.model_info", fail)
    code, output, said = run_main(capsys, "models")
    assert (code, output) == (1, "")
    assert "LAB_DEBUG=1" in said
    assert len(said.splitlines()) == 1
    monkeypatch.setenv("LAB_DEBUG", "1")
    with pytest.raises(RuntimeError, match="broken"):
        main(["models"])


def test_an_unusable_home_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "file"))
    for arguments in (("runs",), ("train",)):
        code, output, said = run_main(capsys, *arguments)
        assert code == 2
        assert output == ""
        assert "LAB_HOME" in said
        assert len(said.splitlines()) == 1
