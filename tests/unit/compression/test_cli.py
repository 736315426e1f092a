"""`python -m core compress`: one small recipe from start to end, looked at, exported, stopped, resumed; and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints.store import find_checkpoint, load_checkpoint, save_checkpoint
from core.compression.analysis import csv_rows, headline
from core.compression.cli import command_of
from core.compression.kind import COMPRESS
from core.compression.recipe import ORIGINAL, PRESETS, CompressConfig, make
from core.compression.results import CompressionResult
from core.compression.steps import (
    STEPS,
    Cluster,
    FineTune,
    Float16,
    HuffmanCode,
    Int8,
    PruneChannels,
    PruneWeights,
    read_step,
)
from core.compression.store import read_compression, write_measurement
from core.data import load_images
from core.jobs import LocalEngine, Run, RunStore
from core.jobs.foreground import describe, run_in_foreground
from core.training.config import TrainConfig
from tests.unit.compression import synthetic_results as synthetic
from tests.unit.compression.compressible import stored
from tests.unit.compression.quick_measuring import ROW_FIELDS, quicken
from tests.unit.in_process import follow
from tests.unit.terminal import refused, run_main

pytestmark = pytest.mark.slow

STEP_LIST = [
    {"step": "prune_weights", "amount": 0.6},
    {"step": "fine_tune", "epochs": 0.1},
    {"step": "cluster", "bits": 3},
    {"step": "huffman"},
]
MADE = ["1-prune_weights", "2-fine_tune", "3-cluster", "4-huffman"]
PRUNE = json.dumps(STEP_LIST[:1])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny_dataset_folder: Path) -> Path:
    dataset = load_images(f"folder:{tiny_dataset_folder}").card
    return Path(stored(tmp_path_factory.mktemp("checkpoints") / "small", dataset=dataset, classes=3, widths=[8, 8]))


@pytest.fixture(scope="module")
def finished(home: Path, small: Path) -> tuple[list[dict[str, Any]], str]:
    """What `compress --json` printed in the foreground, and what it said on stderr meanwhile."""
    recipe = home / "recipe.json"
    recipe.write_text(json.dumps(STEP_LIST))
    before = {path.name: path.read_bytes() for path in small.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        asked = ("--checkpoint", str(small), "--recipe", f"@{recipe}", "--name", "everything", "--json")
        output, said = follow("compress", "start", *asked)
    assert {path.name: path.read_bytes() for path in small.iterdir()} == before, "the original is only read"
    return json.loads(output), said


@pytest.fixture
def half_way(queue_only: None) -> tuple[str, CompressionResult]:
    """A run of five variants of which two are measured, made up; nothing else of it is there."""
    result = synthetic.image_result(done=2)
    store = RunStore()
    run_id = store.create(result.config, result.name, kind=COMPRESS.name)
    for item in result.measured:
        write_measurement(store.folder(run_id), item, None)
    return run_id, result


def run_of(rows: list[dict[str, Any]]) -> str:
    return str(rows[1]["name"]).partition("/")[0]


def test_a_recipe_ends_with_rows(finished: tuple[list[dict[str, Any]], str], small: Path) -> None:
    rows, said = finished
    assert [row["id"] for row in rows] == [ORIGINAL, *MADE]
    assert rows[0]["name"] == str(small)
    assert rows[0]["delta_points"] is None
    for row in rows:
        assert set(ROW_FIELDS) <= set(row)
        assert set(row["latency_ms"]) == {"torch_b1", "torch_b64", "onnx_b1", "onnx_b64"}
        assert all(0 < found["p50"] <= found["p95"] for found in row["latency_ms"].values())
        low, high = row["accuracy_interval"]
        assert low <= row["accuracy"] <= high
        assert row["images"] == 60
    for row in rows[1:]:
        assert row["delta_points"] == pytest.approx(100 * (row["accuracy"] - rows[0]["accuracy"]))
        assert 0 <= row["p_value"] <= 1
        assert row["parameters"] == rows[0]["parameters"]
    assert rows[1]["zeros"] == pytest.approx(0.6, abs=0.01)
    assert rows[2]["zeros"] >= rows[1]["zeros"] - 1e-6, "what was pruned stays zero while the rest is trained"
    assert rows[4]["stored_bytes"] < rows[3]["stored_bytes"] < rows[2]["stored_bytes"]
    assert "4 variants of " in said, "what will be made, before it starts"
    assert "\r" not in said


def test_what_was_measured_is_exported(
    home: Path, finished: tuple[list[dict[str, Any]], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = finished
    run_id = run_of(rows)
    assert run_main(capsys, "compress", "export", run_id, str(tmp_path / "result.csv"))[0] == 0
    with (tmp_path / "result.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines] == [ORIGINAL, *MADE]
    assert [float(line["accuracy"]) for line in lines] == [row["accuracy"] for row in rows]
    path = tmp_path / "result.json"
    code, _, said = run_main(capsys, "compress", "export", run_id, str(path))
    assert code == 0
    assert str(path) in said
    assert CompressionResult.from_dict(json.loads(path.read_text())) == read_compression(RunStore(), run_id)


def test_a_recipe_can_be_shown(finished: tuple[list[dict[str, Any]], str], capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = finished
    run_id = run_of(rows)
    code, output, _ = run_main(capsys, "compress", "show", run_id, "--json")
    assert code == 0
    assert json.loads(output) == rows
    code, output, said = run_main(capsys, "compress", "show", run_id)
    assert (code, said) == (0, "")
    assert output.startswith(f"{run_id}: everything, 4 of 4 variants of ")
    assert headline(read_compression(RunStore(), run_id)) in output
    assert "Times: median (95th percentile), ms a batch, 1 thread." in output
    tables = [line for line in output.splitlines() if line.startswith("variant ")]
    assert "Stored" in tables[0]
    assert "ONNX ×64 (ms)" in tables[0]
    assert tables[1].split()[1:] == ["Accuracy", "Change", "p"]
    assert len([line for line in output.splitlines() if line.startswith("4-huffman  ")]) == 2
    for row in rows:
        for sentence in row["notes"]:
            line = next(line for line in output.splitlines() if line.endswith(f": {sentence}"))
            assert row["id"] in line.partition(": ")[0].split(", ")


def test_lists_show_it_as_a_recipe(
    finished: tuple[list[dict[str, Any]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = run_of(finished[0])
    found = json.loads(run_main(capsys, "compress", "list", "--json")[1])
    row = next(row for row in found if row["run"] == run_id)
    assert (row["name"], row["status"], row["variants"]) == ("everything", "finished", "4 of 4")
    assert run_id in run_main(capsys, "compress", "list")[1]
    _, output, _ = run_main(capsys, "runs")
    assert "4 of 4 variants" in next(line for line in output.splitlines() if line.startswith(run_id))
    _, output, _ = run_main(capsys, "runs", run_id)
    lines = output.splitlines()
    assert "variants: 4 of 4" in lines
    assert "kind: compress" in lines
    assert lines[-1].startswith("config: checkpoint=")
    assert not [line for line in lines if line.startswith(("step:", "total_steps", "epoch", "study", "compression"))]
    code, output, said = run_main(capsys, "runs", run_id, "--metrics")
    assert (code, output.strip()) == (0, "[]")
    assert f"compress show {run_id}" in said


def test_an_interrupted_recipe_shows_what_there_is_and_how_to_go_on(
    half_way: tuple[str, CompressionResult], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = half_way[0]
    monkeypatch.setattr("core.jobs.foreground.follow", lambda engine, name: (engine.state(name), signal.SIGINT))
    code, output, said = run_main(capsys, "compress", "resume", run_id)
    assert code == 130
    assert "2 of 5 variants of" in output
    assert f"python -m core compress resume {run_id}" in said
    code, output, _ = run_main(capsys, "compress", "resume", run_id, "--detach", "--json")
    assert (code, json.loads(output)["status"]) == (0, "queued")
    assert "queued already" in refused(capsys, "compress", "resume", run_id)


def test_what_there_is_can_be_shown(
    half_way: tuple[str, CompressionResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, result = half_way
    path = tmp_path / "half.csv"
    assert run_main(capsys, "compress", "export", run_id, str(path))[:2] == (0, "")
    code, output, said = run_main(capsys, "compress", "show", run_id)
    assert code == 0
    assert "2 of 5 variants of fast_resnet" in output
    assert "2 of 5 variants are measured so far." in output
    assert "1-low_rank: Slower than the original in ONNX Runtime" in output
    assert f"resume {run_id}" in said
    assert len(path.read_text().splitlines()) == 1 + len(csv_rows(result)) == 4
    rows = json.loads(run_main(capsys, "compress", "show", run_id, "--json")[1])
    assert [row["name"] for row in rows] == ["fast_resnet", f"{run_id}/1-low_rank", f"{run_id}/2-prune_channels"]
    assert RunStore().get(run_id).status == "stopped", "looking starts nothing"


def test_text_and_nothing_at_all_can_be_shown(queue_only: None, capsys: pytest.CaptureFixture[str]) -> None:
    store = RunStore()
    writing, empty = synthetic.text(), synthetic.nothing_measured()
    run_id = store.create(writing.config, "writing", kind=COMPRESS.name)
    for item in writing.measured:
        write_measurement(store.folder(run_id), item, None)
    _, output, _ = run_main(capsys, "compress", "show", run_id)
    assert "Characters/s" in output
    assert "Loss (nats)" in output
    assert "ONNX ×64" not in output, "what none of them has is left out"
    run_id = store.create(empty.config, "empty", kind=COMPRESS.name)
    code, output, said = run_main(capsys, "compress", "show", run_id)
    assert code == 0
    assert len(output.splitlines()) == 1
    assert "Nothing is measured yet." in said
    assert json.loads(run_main(capsys, "compress", "show", run_id, "--json")[1]) == []


def test_a_recipe_is_queued_with_all_that_was_asked_for(
    small: Path, queue_only: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small.parent)
    settings = ("--seed", "3", "--threads", "2", "--device", "cpu", "--detach")
    code, output, said = run_main(
        capsys, "compress", "start", "--checkpoint", "small", "--recipe", "fastest", *settings
    )
    assert code == 0
    assert f"{len(PRESETS['fastest'].steps)} variants of" in said
    run = RunStore().get(output.strip())
    assert (run.status, run.name) == ("queued", f"Simple CNN, {PRESETS['fastest'].title}")
    config: CompressConfig = RunStore().config(run.id)
    assert config.checkpoint == str(small), "the worker has another working directory"
    assert (config.seed, config.threads, config.device, config.recipe) == (3, 2, "cpu", "fastest")
    assert config.parsed() == PRESETS["fastest"].steps
    assert (config.model, config.dataset) == ("simple_cnn", find_checkpoint(str(small)).card.dataset.name)


def test_presets_and_steps_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run_main(capsys, "compress", "presets", "--json")[1])
    assert [row["name"] for row in found["presets"]] == list(PRESETS)
    assert [row["name"] for row in found["steps"]] == list(STEPS)
    _, output, _ = run_main(capsys, "compress", "presets")
    for name, preset in PRESETS.items():
        assert f"{name} ({preset.title}, {preset.task}): {preset.about}" in output
    assert "cluster (Cluster): bits=4" in output
    assert "huffman (Huffman code): no settings" in output


def test_a_running_recipe_is_described_by_its_variants() -> None:
    config = synthetic.config(PruneChannels(), FineTune(), Int8())
    run = Run(
        id="x",
        name="x",
        kind=COMPRESS.name,
        config=config,
        status="running",
        stage="reading the dataset",
        parts_done=1,
        examples_per_s=4600.4,
        seconds_left=200.0,
    )
    assert describe(run) == (None, "reading the dataset")
    training = dataclasses.replace(run, stage="fine-tune for 2 epochs: training", step=250, total_steps=1000)
    words = "variant 2 of 3 · fine-tune for 2 epochs: training · 4,600 images/s · 3:20 left of this step"
    assert describe(training) == (0.25, words)
    measuring = dataclasses.replace(training, stage="fine-tune for 2 epochs: time PyTorch")
    assert describe(measuring)[1] == "variant 2 of 3 · fine-tune for 2 epochs: time PyTorch", "that rate is past"
    assert describe(dataclasses.replace(measuring, parts_done=3))[1].startswith("variant 3 of 3 · ")
    assert describe(dataclasses.replace(measuring, status="stopping"))[1].endswith(" · stopping")


def test_a_recipe_that_is_resumed_as_a_run_is_looked_at_with_its_own_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = synthetic.config(Int8())
    run = Run(id="x", name="x", kind=COMPRESS.name, config=config, status="finished")
    monkeypatch.setattr("core.jobs.foreground.follow", lambda engine, run_id: (run, 0))
    assert run_in_foreground(LocalEngine(), "x", as_json=False) == 0
    assert "python -m core compress show x" in capsys.readouterr().err


def test_what_cannot_go_on_is_told(half_way: tuple[str, CompressionResult], capsys: pytest.CaptureFixture[str]) -> None:
    run_id, store = half_way[0], RunStore()
    plain = store.create(TrainConfig())
    assert "is not a compression" in refused(capsys, "compress", "resume", plain)
    assert "is not a compression" in refused(capsys, "compress", "show", plain)
    store.write_status(run_id, status="finished")
    assert "has finished" in refused(capsys, "compress", "resume", run_id)
    path = store.folder(run_id) / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"config": values["config"] | {"steps": [{"step": "pancakes"}]}}))
    assert "pancakes" in refused(capsys, "compress", "resume", run_id)
    assert "pancakes" in refused(capsys, "compress", "show", run_id)


@pytest.mark.parametrize(
    ("steps", "text", "needed"),
    [
        ((PruneWeights(), Cluster(), HuffmanCode()), False, False),
        ((PruneChannels(), Float16()), False, False),
        ((PruneChannels(importance="taylor"),), False, True),
        ((FineTune(),), False, True),
        ((Int8(),), False, True),
        ((Int8(),), True, False),
    ],
)
def test_steps_that_need_the_data_are_known(steps: tuple[Any, ...], text: bool, needed: bool) -> None:
    assert synthetic.config(*steps, text=text).needs_data is needed


RECIPES = [
    ("pancakes", "no recipe 'pancakes'"),
    ("text_half", "no recipe 'text_half'"),
    ('[{"step": "int8"', "nor JSON"),
    ("[" * 100_000, "nor JSON"),
    ('{"step": "int8"}', "a list of steps"),
    ("[]", "a list of steps"),
    ('[{"step": "pancakes"}]', "no step 'pancakes'"),
    ('[{"step": "float16", "bits": 3}]', "no setting named bits"),
    ('[{"step": "prune_weights", "amount": 1.5}]', "amount"),
    ('[{"step": "prune_channels", "amount": NaN}]', ""),
    ('[{"step": "int8"}, {"step": "float16"}]', "must be the last step"),
    ('[{"step": "distill", "student": "char_lstm"}]', "learn different things"),
    ('[{"step": "distill", "student_config": {"x": 1}}]', "no setting named x"),
    ("@", "is not a file"),
    ("@/nowhere/recipe.json", "No such file"),
]
MISTAKES = [
    (("start", "--recipe", "half"), "--checkpoint"),
    (("start", "--checkpoint", "SMALL"), "--recipe"),
    (("start", "--checkpoint", "nothing", "--recipe", "half"), "no checkpoint named 'nothing'"),
    (("start", "--checkpoint", "SMALL", "--recipe", "half", "--threads", "0"), "threads=0"),
    (("start", "--checkpoint", "SMALL", "--recipe", "half", "--seed", "x"), "whole number"),
    (("start", "--checkpoint", "SMALL", "--recipe", "half", "--device", "tpu"), "device must be"),
    (("start", "--checkpoint", "SMALL", "--recipe", "half", "--name", " "), "name"),
    (("export", "example", "/nowhere/at/all.csv"), "in a folder that is there"),
    (("export", "example", "/tmp"), "must end in .csv or .json"),
    (("resume", "nothing"), "There is no run"),
    (("resume", "x", "--seed", "1"), "--seed"),
    (("show", "../x"), "run id"),
    *((("start", "--checkpoint", "SMALL", "--recipe", recipe), words) for recipe, words in RECIPES),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(case[0])[:60] for case in MISTAKES])
def test_a_mistake_is_one_sentence(
    home: Path, small: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "compress", *(str(small) if item == "SMALL" else item for item in arguments))


def test_a_file_that_is_no_recipe_is_refused(
    home: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe"
    for content, words in ((b"\xff\xfe", "holds no text"), (b" " * 200_000, "too large"), (b"{", "nor JSON")):
        path.write_bytes(content)
        assert words in refused(capsys, "compress", "start", "--checkpoint", str(small), "--recipe", f"@{path}")
    # A device would never end, and a pipe waits for its other end.
    os.mkfifo(tmp_path / "pipe")
    for other in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        said = refused(capsys, "compress", "start", "--checkpoint", str(small), "--recipe", f"@{other}")
        assert "is not a file" in said


def test_data_that_are_gone_are_missed_before_the_start(
    queue_only: None, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = load_checkpoint(str(small))
    card = dataclasses.replace(
        reference.card, dataset=dataclasses.replace(reference.card.dataset, name=f"folder:{tmp_path}/gone")
    )
    save_checkpoint(tmp_path / "orphan", reference.model, card)
    asked = ("--checkpoint", str(tmp_path / "orphan"), "--recipe")
    for recipe in ("int8", "fastest", "smallest", "student"):
        assert "The recipe needs it, because Original was trained on it" in refused(
            capsys, "compress", "start", *asked, recipe
        )
    code, output, said = run_main(capsys, "compress", "start", *asked, PRUNE, "--detach")
    assert code == 0
    assert "Without it accuracy is not measured" in said
    assert RunStore().get(output.strip()).status == "queued"
    save_checkpoint(
        tmp_path / "orphan",
        reference.model,
        dataclasses.replace(card, dataset=dataclasses.replace(reference.card.dataset, name="cifar10")),
    )
    assert "python -m core data fetch cifar10" in refused(capsys, "compress", "start", *asked, "int8")


def test_the_command_of_a_result_asks_for_the_same(
    small: Path, queue_only: None, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, card = tuple(read_step(step) for step in STEP_LIST), find_checkpoint(str(small)).card
    config = make(str(small), card, steps, seed=3, threads=2, device="cpu")
    run_main(capsys, *shlex.split(command_of(config))[3:], "--detach")
    assert RunStore().list()[0].config == config
