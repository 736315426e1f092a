"""One training in two processes: the same steps as in one, a resume that is exact, and what is said when one of them dies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from core.checkpoints.store import load_checkpoint
from core.common.errors import LabError
from core.jobs import RunStore
from core.jobs.engine import ROOT
from core.jobs.store import STOP
from core.training.config import TrainConfig, check_shares
from core.training.job import Recorder
from core.training.team import device_of, ready
from tests.unit.in_process import finish
from tests.unit.training.conftest import ask_to_stop, at_step, finished, same_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tiny_dataset_folder: Path) -> TrainConfig:
    return TrainConfig(
        dataset=f"folder:{tiny_dataset_folder}",
        epochs=2,
        batch_size=8,
        grad_accumulation=2,
        optimizer="sgd",
        lr=0.02,
        l1=1e-4,
        label_smoothing=0.1,
        mixup=0.2,
        flip="random",
        crop_padding=2,
        average="ema",
        eval_every=0.7,
        device="cpu",
        devices=2,
    )


@pytest.fixture(scope="module")
def together(store: RunStore, config: TrainConfig) -> str:
    return finished(store, config, "together")


def weights(store: RunStore, run_id: str) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(str(store.folder(run_id) / "last")).model.state_dict())


def helpers() -> list[psutil.Process]:
    """The processes that help this one to train."""
    return [child for child in psutil.Process().children() if "core.training.team_member" in child.cmdline()]


def test_two_processes_take_the_steps_of_one(store: RunStore, config: TrainConfig, together: str) -> None:
    alone = finished(store, config.replace(devices=1, grad_accumulation=1), "alone")
    expected, found = weights(store, alone), weights(store, together)
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, rtol=1e-4, atol=1e-6), name
    rows = [[row for row in store.metrics(run_id) if row["kind"] == "train"] for run_id in (alone, together)]
    for one, two in zip(*rows, strict=True):
        assert two["examples"] == one["examples"]
        assert two["train_loss_nats"] == pytest.approx(one["train_loss_nats"], rel=1e-4)
        assert two["train_accuracy"] == pytest.approx(one["train_accuracy"], abs=1 / 8)


def test_a_resume_in_two_processes_is_exact(store: RunStore, config: TrainConfig, together: str) -> None:
    run_id = store.create(config, "cut")
    with at_step(11, ask_to_stop):
        run = finish(store, run_id)
    assert (run.status, run.saved_step) == ("stopped", 11)
    assert not helpers(), "the other process outlives the run"
    (store.folder(run_id) / STOP).unlink(missing_ok=True)
    assert finish(store, run_id).status == "finished"
    expected, found = weights(store, together), weights(store, run_id)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert same_rows(store, together, run_id)


def test_a_process_that_dies_is_one_sentence_and_nothing_is_lost(
    store: RunStore, config: TrainConfig, together: str
) -> None:
    def kill(recorder: Recorder) -> None:
        recorder.save()
        for helper in helpers():
            helper.kill()

    run_id = store.create(config, "bereft")
    with at_step(9, kill):
        run = finish(store, run_id)
    assert run.status == "failed"
    assert "One of the 2 processes" in run.message
    assert run.resumable
    assert finish(store, run_id).status == "finished"
    expected, found = weights(store, together), weights(store, run_id)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_process_ends_with_the_one_that_started_it(store: RunStore, config: TrainConfig, tmp_path: Path) -> None:
    """Also while it waits for others, where no connection could end."""
    script = (
        "import subprocess, sys, time\n"
        f"command = [sys.executable, '-m', 'core.training.team_member', {str(store.folder(store.create(config)))!r}, "
        f"{str(tmp_path / 'meeting')!r}, '1', '2']\n"
        "print(subprocess.Popen(command).pid, flush=True)\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    member = psutil.Process(int(parent.stdout.readline()))
    try:
        until(ready(tmp_path / "meeting", 1).exists)
    finally:
        parent.kill()
        parent.wait()
    member.wait(30)


def test_a_run_does_not_wait_for_a_process_that_is_gone(store: RunStore, config: TrainConfig) -> None:
    """One that is ready to join and ends: PyTorch would wait for it for days."""
    run_id = store.create(config)
    script = (
        "import sys\nimport core.training.team as team\n"
        "team._start = lambda job, meeting, rank, *_: team.subprocess.Popen(['touch', str(team.ready(meeting, rank))])\n"
        "team.STUCK_S = 1.0\nfrom core.jobs import RunStore\nfrom core.jobs.worker import do_run\n"
        f"do_run(RunStore(team.Path({str(store.root)!r})), {run_id!r})"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, timeout=120)
    run = store.get(run_id)
    assert run.status == "failed"
    assert "One of the 2 processes" in run.message


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_layer_may_freeze_on_the_way(store: RunStore, config: TrainConfig) -> None:
    """Fast ResNet stops training a bias after some epochs, which the exchange of gradients has to learn of."""
    small = config.replace(model="fast_resnet", model_config={"widths": [8, 8, 8]}, epochs=4, grad_accumulation=1, l1=0)
    assert finished(store, small, "freezes")


def test_what_cannot_be_shared_is_said(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match="multiple of 3"):
        config.replace(devices=3)
    with pytest.raises(LabError, match="devices=2 cannot be used with train_layers"):
        config.replace(train_layers="head", init_from="simple_cnn")
    with pytest.raises(LabError, match="share a batch of 7"):
        check_shares(2, 7)
    monkeypatch.setattr("core.training.team.pick_device", lambda wanted: "cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert device_of(config, 1) == "cuda:2"
    with pytest.raises(LabError, match="there are 2 from cuda:1 on"):
        device_of(config.replace(devices=4), 1)
