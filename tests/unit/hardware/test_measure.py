"""Cells in processes: those that crash, hang or lack memory leave a reason, and the others go on; Stop and Resume; layers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.app import main
from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.common.child import Child, ChildFailed
from core.common.errors import LabError
from core.hardware import measure
from core.hardware.cli import new_config
from core.hardware.config import HardwareConfig
from core.hardware.estimate import grid_seconds
from core.hardware.kind import HARDWARE
from core.hardware.layers import count_bytes, count_flops, layer_points
from core.hardware.measure import Heat, heats, time_limit
from core.hardware.networks import Spec, chunks
from core.hardware.results import GRIDS, HardwareResult, Row, read_grid
from core.hardware.setups import Setup
from core.inference.images import logits_of
from core.jobs import Run, RunStore
from core.jobs.job import Stopped
from tests.unit.hardware.fake_child import DIES_LATER, EXITS, HANGS, KILLED, NO_MEMORY
from tests.unit.hardware.planted import MACHINE, cell
from tests.unit.in_process import finish
from tests.unit.shift.conftest import networks, small_data  # noqa: F401, a fixture
from tests.unit.terminal import answer, refused, run_main

FAKE = "tests.unit.hardware.fake_child"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """All processes that are started; their networks are fakes."""
    started: list[Child] = []

    def child(_: str, *arguments: Any, **options: Any) -> Child:
        started.append(Child(FAKE, *arguments, **options))
        return started[-1]

    monkeypatch.setattr(measure, "Child", child)
    return started


@pytest.fixture
def heat(tmp_path: Path, fakes: list[Child]) -> Callable[..., tuple[Row, ...]]:
    labels = np.arange(40) % 10
    np.savez(tmp_path / "sample.npz", images=np.zeros((40, 8, 8, 3), np.uint8), labels=labels)

    def run(threads: tuple[int, ...], poll: Callable[[], None] = lambda: None) -> tuple[Row, ...]:
        config = HardwareConfig(threads=(*threads, 8), rounds=3, images=40, works=("inference",))

        def spec(setup: Setup) -> Spec:
            return Spec(setup=setup, checkpoint="", sample=str(tmp_path / "sample.npz"))

        cells = [cell(threads=count) for count in threads]
        return Heat(config, MACHINE, tmp_path, spec, poll).run(cell(threads=8), cells)

    return run


def ended(children: list[Child]) -> bool:
    return all(child.process.poll() is not None for child in children)


def test_a_cell_that_fails_leaves_its_reason_and_the_others_go_on(
    heat: Callable[..., tuple[Row, ...]], fakes: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "time_limit", lambda setup, *_: 1.5 if setup.threads == HANGS else 60.0)
    rows = {row.setup.threads: row for row in heat((1, KILLED, NO_MEMORY, HANGS, DIES_LATER, EXITS))}
    assert {threads for threads, row in rows.items() if row.measured} == {8, 1}
    assert "memory ran out" in rows[KILLED].reason
    assert rows[NO_MEMORY].reason == "Memory ran out."
    assert "no answer to 64 images within 1.5 s" in rows[HANGS].reason
    assert "SIGSEGV" in rows[DIES_LATER].reason
    assert "exit code 5: what it says last" in rows[EXITS].reason
    good = rows[1]
    assert len(good.round_ms) == len(good.reference_ms) == 3
    assert min(good.round_ms) >= 20
    assert (good.right, good.images, good.lost, good.gained) == (40, 40, 0, 0)
    assert good.logit_difference == 7, "eight of its reference and one of its own"
    assert rows[8].logit_difference == 0
    assert good.memory_bytes is not None
    assert ended(fakes)


def test_without_its_reference_a_cell_has_a_speed_and_no_factor(
    heat: Callable[..., tuple[Row, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "time_limit", lambda setup, *_: 0.0 if setup.threads == 8 else 60.0)
    base, alone = heat((1,))
    assert base.reason
    assert alone.measured
    assert alone.right == 40
    assert alone.speedup is alone.change is alone.break_even(base) is None


def test_a_stop_ends_all_processes(heat: Callable[..., tuple[Row, ...]], fakes: list[Child]) -> None:
    looks = [0]

    def poll() -> None:
        looks[0] += 1
        if looks[0] == 8:
            raise Stopped("enough")

    with pytest.raises(Stopped):
        heat((1, 2), poll)
    assert fakes
    assert ended(fakes)


def test_a_child_is_told_its_threads_and_compiles_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    real = measure.Child.__init__.__globals__["subprocess"].Popen

    def popen(*arguments: Any, env: dict[str, str], **options: Any) -> Any:
        seen.append(env)
        return real(*arguments, env=env, **options)

    monkeypatch.setattr("core.common.child.subprocess.Popen", popen)
    for keep in (False, True):
        child = Child(FAKE, 3, keep_memory=keep)
        with pytest.raises(ChildFailed):
            child.ask("no JSON", 30, lambda: None)
        child.close()
    assert [env["OMP_NUM_THREADS"] for env in seen] == ["3", "3"]
    assert [any(name.startswith("MALLOC_") for name in env) for env in seen] == [False, True]
    assert seen[0]["TORCHINDUCTOR_CACHE_DIR"] != seen[1]["TORCHINDUCTOR_CACHE_DIR"]
    assert not os.path.exists(seen[0]["TORCHINDUCTOR_CACHE_DIR"])


def test_heats_hold_few_cells_and_repeat_the_reference() -> None:
    config = HardwareConfig(threads=(1, 2), works=("inference", "training"))
    found = heats(config.setups, config, 3)
    assert all(len(cells) <= 3 for _, cells in found)
    assert all(config.reference(each) == base and each != base for base, cells in found for each in cells)
    assert {setup for base, cells in found for setup in (base, *cells)} == set(config.setups)
    alone = config.reference(config.setups[0])
    assert heats([alone], config, 3) == [(alone, ())]
    missing = [setup for setup in config.setups if setup.runtime == "onnx"]
    assert [setup for _, cells in heats(missing, config, 9) for setup in cells] == missing
    assert 1 <= measure.heat_size() <= measure.MOST_CELLS


def test_a_slow_cell_gets_little_time_but_may_compile() -> None:
    config = HardwareConfig(limit_s=100)
    assert time_limit(cell(precision="bfloat16"), config, MACHINE) < 100
    assert time_limit(cell(precision="bfloat16", runtime="compile"), config, MACHINE) == 100
    assert time_limit(cell(), config, MACHINE) == 100


def test_batches_have_one_size() -> None:
    images = np.arange(10)[:, None]
    found = chunks(images, 4)
    assert [len(part) for part in found] == [4, 4, 4]
    assert (np.concatenate(found)[:10] == images).all()
    assert len(chunks(images, 64)[0]) == 64


def small(checkpoint: str = "first", **values: Any) -> HardwareConfig:
    usual = {"precisions": ("float32",), "runtimes": ("eager",), "threads": (1,), "formats": ("contiguous",)}
    usual |= {"rounds": 3, "images": 20, "batch_sizes": (8,), "training_batch": 16, "roofline": False}
    return new_config(checkpoint, **usual | values)


def test_stop_and_resume_give_the_same_cells(
    networks: tuple[str, ...],  # noqa: F811
    fakes: list[Child],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.hardware.job.heat_size", lambda: 1)
    store, config = RunStore(), small(threads=(1, 2, 9), works=("inference",))
    whole = store.create(config, kind=HARDWARE.name)
    assert finish(store, whole).status == "finished"
    started = len(fakes)
    assert started == 4, "two heats of a cell and its reference"
    stopped = store.create(config, kind=HARDWARE.name)
    real, heats_run = Heat.run, [0]

    def run(heat: Heat, *setups: Any) -> tuple[Row, ...]:
        heats_run[0] += 1
        if heats_run[0] == 2:
            raise Stopped("Stopped as asked")
        return real(heat, *setups)

    monkeypatch.setattr(Heat, "run", run)
    found = finish(store, stopped)
    assert (found.status, found.resumable, found.parts_done) == ("stopped", True, 2)
    kept = read_grid(store.folder(stopped), config).rows
    assert finish(store, stopped).status == "finished"
    assert len(fakes) - started == 4, "what was measured is not measured again, but for the reference"
    again = read_grid(store.folder(stopped), config)
    assert {row.setup for row in again.rows} == {row.setup for row in read_grid(store.folder(whole), config).rows}
    assert again.rows[: len(kept)] == kept
    assert again.made["hardware"]
    facts = GRIDS.read_facts(store.folder(stopped))
    other = store.create(config, kind=HARDWARE.name)
    GRIDS.write_facts(store.folder(other), machine=facts["machine"] | {"processor": "Another"})
    assert "another machine" in finish(store, other).message


def test_a_grid_that_cannot_be_is_one_sentence(
    networks: tuple[str, ...],  # noqa: F811
    fakes: list[Child],
) -> None:
    store = RunStore()

    def message(config: HardwareConfig) -> Run:
        return finish(store, store.create(config, kind=HARDWARE.name))

    assert "has changed" in message(small().replace(fingerprint="x")).message
    assert "no device 'cuda:7'" in message(small(devices=("cuda:7",))).message
    with pytest.raises(LabError, match="measures no hardware"):
        read_grid(Path("nowhere"), None)
    assert grid_seconds(small(rounds=50)) > grid_seconds(small(rounds=3)) > 0


@pytest.mark.slow
def test_a_whole_grid_in_real_processes(
    networks: tuple[str, ...],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """PyTorch and ONNX Runtime answer, a step trains, and the layers stand below a roof."""
    store, config = RunStore(), small(runtimes=("eager", "onnx"), roofline=True)
    run_id = store.create(config, kind=HARDWARE.name)
    run = finish(store, run_id)
    assert run.status == "finished", run.message
    found = read_grid(store.folder(run_id), config)
    reasons = {row.setup.id: row.reason for row in found.rows if not row.measured}
    assert not reasons
    assert len(found.rows) == len(config.setups) == 3
    onnx = next(row for row in found.rows if row.setup.runtime == "onnx")
    assert onnx.logit_difference is not None
    assert onnx.logit_difference < 1e-3
    assert (onnx.lost, onnx.gained) == (0, 0)
    data = small_data().test
    numbers = np.sort(np.random.default_rng(0).permutation(len(data))[:20])
    logits = logits_of(load_checkpoint("first"), data.images[numbers], "none")
    assert onnx.right == int((logits.argmax(1).numpy() == data.labels[numbers]).sum())
    assert found.roofline is not None
    assert {layer.kind for layer in found.roofline.layers} >= {"conv", "linear", "activation"}
    assert not (store.folder(run_id) / "work").exists()
    values = answer(capsys, "hardware", "show", run_id, "--json")
    assert HardwareResult.from_dict({key: values[key] for key in found.to_dict()}).to_dict() == found.to_dict()
    file = tmp_path / "other.json"
    file.write_text(json.dumps(found.to_dict()))
    assert len(answer(capsys, "hardware", "show", run_id, "--second", str(file), "--json")["cells"]) == 3
    code, text, _ = run_main(capsys, "hardware", "show", str(file))
    assert code == 0
    assert "Inference:" in text


def test_the_command_line(networks: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:  # noqa: F811
    assert answer(capsys, "hardware", "machine", "--json")["cores"] >= 1
    cells = answer(capsys, "hardware", "start", "--checkpoint", "first", "--dry-run", "--threads", "1", "--json")
    assert cells["seconds"] > 0
    assert len(cells["cells"]) == len(new_config("first", threads=(1,)).setups)
    assert all(one["low"] <= one["high"] for one in cells["cells"])
    (tmp_path / "hostile.json").write_text('{"format": 1, "rows": [[[')
    for arguments, words in (
        (("start", "--checkpoint", "nobody"), "no checkpoint named"),
        (("start", "--checkpoint", "first", "--precisions", "int4"), "precisions"),
        (("start", "--checkpoint", "first", "--rounds", "1"), "from 3 to 50"),
        (("show", str(tmp_path / "hostile.json")), "is no result of this page"),
        (("show", str(tmp_path / "missing.json")), "cannot be read"),
        (("show", "nothing-here"), "no run"),
    ):
        assert words in refused(capsys, "hardware", *arguments)


def test_a_language_model_is_refused(lab_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "choose an image classifier" in refused(capsys, "hardware", "start", "--checkpoint", "char_rnn")
    assert "choose an image classifier" in refused(capsys, "hardware", "roofline", "--checkpoint", "char_rnn")
    assert main(["hardware", "machine"]) == 0


@pytest.mark.parametrize(
    ("module", "shape", "flops"),
    [
        # B=2, 5 outputs of 6×6 places, 3 inputs of 3×3 weights
        (nn.Conv2d(3, 5, 3), (2, 3, 8, 8), 2 * 2 * 5 * 6 * 6 * 3 * 9),
        (nn.Conv2d(4, 8, 3, padding=1, stride=2, groups=2), (1, 4, 8, 8), 2 * 8 * 4 * 4 * 2 * 9),
        (nn.Linear(7, 11), (3, 7), 2 * 3 * 7 * 11),
    ],
)
def test_work_of_layers_against_closed_forms(module: nn.Module, shape: tuple[int, ...], flops: int) -> None:
    inputs = torch.rand(shape)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        output = module(inputs)
    assert count_flops(module, inputs, output) == flops == counter.get_total_flops()
    weights = sum(parameter.numel() for parameter in module.parameters())
    assert count_bytes(module, inputs, output) == 4 * (inputs.numel() + output.numel() + weights)


def test_every_known_layer_is_timed_and_counted() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    ).eval()
    images = torch.rand(2, 3, 8, 8)
    before = network(images)
    found = layer_points(network, images)
    assert [layer.kind for layer in found] == ["conv", "norm", "activation", "pooling", "linear"]
    assert [layer.flops for layer in found[1:4]] == [2 * 288, 288, 288]
    assert all(layer.ms > 0 for layer in found)
    assert torch.equal(network(images), before), "the hooks are gone and nothing was changed"


def test_a_checkpoint_of_the_shipped_ones_has_a_recipe() -> None:
    from core.hardware.job import training_recipe
    from core.training.config import TrainConfig

    for name in ("simple_cnn", "fast_resnet"):
        reference = find_checkpoint(name)
        setup = cell(work="training", precision="bfloat16", runtime="compile", memory_format="channels_last")
        config = TrainConfig.from_dict(training_recipe(reference.card, reference.folder, setup))
        assert (config.precision, config.compile, config.batch_size) == ("bfloat16", True, 64)
        assert config.init_from == str(reference.folder)
