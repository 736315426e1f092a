"""The Hardware page: what it shows is what core computes, choices are in the address, bad input is one sentence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from core.checkpoints.store import Card
from core.hardware.config import HardwareConfig
from core.hardware.kind import HARDWARE
from core.hardware.recommend import answer, recommend
from core.hardware.results import GRIDS, HardwareResult, Row, part_folder
from core.jobs import RunStore
from pages.hardware import new
from pages.hardware.take_over import train_query
from tests.app.conftest import Open, chart, follow, link, read, rerun, table, texts, unfold, write_checkpoint
from tests.unit.hardware.planted import MACHINE, cell, result, row

pytestmark = pytest.mark.usefixtures("warm")

TRAINING = {"work": "training", "memory_format": "channels_last", "batch_size": 128}
RESULT = dataclasses.replace(
    result(
        row(speed=2.0, start_s=3.0, runtime="onnx"),
        row(speed=3.0, lost=40, runtime="onnx", precision="int8"),
        Row(
            setup=cell(runtime="compile"), reason="The system ended its process (SIGKILL), most likely without memory."
        ),
        row(speed=0.5, threads=1),
        row(**TRAINING),
        row(speed=1.5, start_s=30.0, runtime="compile", **TRAINING),
    ),
    made={"date": "2026-12-01"},
)


@pytest.fixture
def grid(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> HardwareResult:
    """The planted result as what ships, for two machines."""
    folder = lab_home / "grids"
    folder.mkdir(parents=True)
    other = dataclasses.replace(RESULT, machine=dataclasses.replace(MACHINE, processor="Xeon", cores=8))
    faster = tuple(
        dataclasses.replace(each, round_ms=tuple(ms / 4 for ms in each.round_ms)) if each.measured else each
        for each in other.rows
    )
    for name, found in (("simple_cnn", RESULT), ("fast_resnet", dataclasses.replace(other, rows=faster))):
        (folder / f"{name}.json").write_text(json.dumps(found.to_dict()))
    monkeypatch.setattr(GRIDS, "shipped", folder)
    return RESULT


@pytest.fixture
def network(lab_home: Path) -> Card:
    return write_checkpoint(lab_home / "none" / "simple_cnn")


def test_what_ships_answers_at_once(open_page: Open, grid: HardwareResult) -> None:
    at = open_page("hardware")
    said = read(texts(at))
    assert answer(grid) in said
    assert "int8 is faster but costs 8.0 points" in said
    assert "Use this: ONNX Runtime, 2 threads" in said
    advice = recommend(grid, "inference", 64)
    assert advice is not None
    assert f"pays back after {advice.break_even:,} images" in said
    assert "Slowest: PyTorch, 1 thread" in said
    bars = {trace["name"]: trace["x"] for trace in chart(at, 0)["data"]}
    assert max(bars["ONNX Runtime"]) == pytest.approx(3.0, rel=0.01)
    assert "The checkpoint is not on this machine" in said
    at = rerun(at.segmented_control(key="hardware-work-shipped-simple_cnn").set_value("training"))
    assert link(at)["work"] == "training"
    assert "torch.compile with 2 threads trains on 1.5 times" in read(texts(at))
    at = rerun(at.segmented_control(key="example-task").set_value("fast_resnet"))
    assert link(at)["of"] == "fast_resnet"


def test_tables_hold_every_cell_and_what_was_expected(open_page: Open, grid: HardwareResult) -> None:
    at = unfold(open_page("hardware"), "cells-shipped-simple_cnn")
    cells = table(at)
    assert cells["Setting"] == [
        *("ONNX Runtime, int8, 2 threads", "ONNX Runtime, 2 threads", "PyTorch, 2 threads", "PyTorch, 1 thread"),
        "torch.compile, 2 threads",
    ]
    assert "SIGKILL" in cells["Images/s"][-1]
    assert cells["Change"][0].startswith("−8.0")
    assert "Energy" not in cells
    at = unfold(open_page("hardware"), "expected-shipped-simple_cnn")
    held, count = grid.hits()
    assert f"{held} of {count} measured cells" in texts(at)
    assert table(at)["Held"][0] == "yes"
    at = unfold(open_page("hardware"), "scaling-shipped-simple_cnn")
    assert [trace["x"] for trace in chart(at, 1)["data"]] == [[1, 2]]


def test_the_best_training_settings_fill_the_form(
    open_page: Open, grid: HardwareResult, network: Card, ten_classes: None
) -> None:
    at = open_page("hardware", work="training")
    advice = recommend(grid, "training", 128)
    assert advice is not None
    query = train_query(grid, advice)
    assert query is not None
    assert json.loads(query["set"])["compile"] is True
    assert any(item.proto.page == "images" for item in at.get("page_link"))
    at = follow(open_page("home"), "images", view="Train", **query)
    assert "torch.compile" in read(texts(at))
    assert "compile" in {box.label.split(".")[-1] for box in at.checkbox if box.value}


def test_the_best_inference_is_a_file(open_page: Open, grid: HardwareResult, network: Card) -> None:
    at = open_page("hardware")
    assert any("export --checkpoint simple_cnn" in code.value for code in at.code)
    assert "ONNX file" in {item.proto.label for item in at.get("download_button")}


def test_the_roofline_and_two_machines(open_page: Open, grid: HardwareResult) -> None:
    assert grid.roofline is not None
    at = unfold(open_page("hardware", view="Roofline"), "layers-simple_cnn")
    assert grid.roofline.answer() in read(texts(at))
    assert table(at)["Bound by"] == ["memory", "arithmetic"]
    at = open_page("hardware", view="Compare")
    assert "Xeon, 8 cores is 4.0 times as fast as AMD EPYC, 2 cores" in read(texts(at))
    at = unfold(at, "both-simple_cnn-fast_resnet")
    assert set(table(at)["Times"]) == {"4.0"}
    at = open_page("hardware", view="Compare", second="file")
    assert not at.error
    assert at.get("file_uploader")
    assert "nothing on this view was measured here" in texts(open_page("hardware", view="Guide"))


def test_a_file_of_another_machine_is_checked(open_page: Open, grid: HardwareResult) -> None:
    at = open_page("hardware", view="Compare", second="file")
    at = rerun(at.file_uploader(key="hardware-file").set_value(("x.json", b'{"format": 1}', "application/json")))
    assert len(at.error) == 1
    good = json.dumps(dataclasses.replace(RESULT, machine=dataclasses.replace(MACHINE, cores=64)).to_dict()).encode()
    at = rerun(at.file_uploader(key="hardware-file").set_value(("y.json", good, "application/json")))
    assert not at.error
    assert "64 cores" in read(texts(at))


def test_a_grid_is_started_and_shown_as_it_grows(open_page: Open, network: Card, submitted: list[str]) -> None:
    at = open_page("hardware", view="New grid", precisions="float32,bfloat16", works="inference", threads="1")
    assert "cells, about" in texts(at)
    slow = "has no instructions for bfloat16" in " ".join(item.value for item in at.warning)
    assert slow is not new.this_machine().has("amx_bf16", "avx512_bf16", "avx512f", "bf16")
    at = unfold(at, "hardware-expect")
    assert "PyTorch, bfloat16, 1 thread" in " ".join(table(at)["Cell"])
    rerun(at.button(key="start-hardware").click())
    (run_id,) = submitted
    config = RunStore().config(run_id)
    assert isinstance(config, HardwareConfig)
    assert (config.works, config.precisions, config.threads) == (("inference",), ("float32", "bfloat16"), (1,))
    at = open_page("hardware", grid=run_id)
    assert "Nothing is measured yet" in texts(at)
    first = dataclasses.replace(row(), setup=config.setups[0])
    folder = part_folder(RunStore().folder(run_id), first.setup.id)
    folder.mkdir()
    GRIDS.write_part(folder, first)
    at = open_page("hardware", grid=run_id)
    assert "No setting surely answers" in texts(at)
    assert HARDWARE.page(RunStore().get(run_id))[1]["grid"] == run_id
    assert "no roofline yet" in texts(open_page("hardware", view="Roofline", of=run_id))


def test_bad_input_is_one_sentence(
    open_page: Open, network: Card, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_page("hardware", view="New grid")
    at = rerun(at.multiselect(key="hardware-runtimes").set_value([]))
    assert len(at.error) == 1
    assert at.button(key="start-hardware").disabled
    assert len(open_page("hardware", view="New grid", precisions="int4").warning) >= 1
    monkeypatch.setattr(GRIDS, "shipped", lab_home / "nothing")
    assert "make one of your own" in read(texts(open_page("hardware")))
    assert "There is no grid yet" in texts(open_page("hardware", view="Compare"))
