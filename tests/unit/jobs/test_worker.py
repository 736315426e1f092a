"""Real worker processes on a tiny dataset: exact resume, queue, stop, kill, full disk. Shared runs keep this short."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints.store import list_checkpoints, load_checkpoint, read_card
from core.common import locks
from core.common.errors import LabError
from core.jobs import LocalEngine, Run, RunStore
from core.jobs.store import FOREGROUND_LOCK
from core.training.config import TrainConfig

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 120.0


def wait(engine: LocalEngine, run_id: str, until: Callable[[Run], bool]) -> Run:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        run = engine.state(run_id)
        if until(run):
            return run
        time.sleep(0.02)
    raise AssertionError(f"{engine.store.get(run_id)}\n{engine.store.log(run_id)}")


def ended(run: Run) -> bool:
    return not run.active


def training(run: Run) -> bool:
    return run.stage == "training"


def worker_pid(store: RunStore, run_id: str) -> int:
    return int((store.folder(run_id) / "worker.lock").read_text().split()[0])


def plain_rows(store: RunStore, run_id: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in store.metrics(run_id)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunStore]:
    """A store whose workers would fail if anything in them imported Streamlit."""
    folder = tmp_path_factory.mktemp("lab")
    poison = folder / "path" / "streamlit"
    poison.mkdir(parents=True)
    (poison / "__init__.py").write_text("raise SystemExit('a worker imported Streamlit')\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(poison.parent)
    yield RunStore(folder / "runs")
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def engine(store: RunStore) -> LocalEngine:
    return LocalEngine(store, slots=2)


@pytest.fixture(scope="module")
def config(tiny_dataset_folder: Path) -> TrainConfig:
    """All that a resume could forget: dropout, averaged weights, order, augmentation, schedule, odd evaluation times."""
    return TrainConfig(
        dataset=f"folder:{tiny_dataset_folder}",
        model_config={"dropout": 0.1},
        epochs=25,
        batch_size=4,
        lr=3e-4,
        schedule="triangular",
        warmup=0.1,
        flip="alternating",
        crop_padding=2,
        cutout=4,
        average="ema",
        early_stopping=100_000,
        eval_every=0.7,
        device="cpu",
    )


@pytest.fixture(scope="module")
def pair(store: RunStore, engine: LocalEngine, config: TrainConfig) -> tuple[str, str]:
    """Two runs of one configuration. The first is left alone; the second is stopped, starved and killed."""
    calm, rough = store.create(config, "calm"), store.create(config, "rough")
    engine.submit(calm)
    engine.submit(rough)

    wait(engine, rough, lambda run: run.step >= 100)
    assert engine.submit(rough).status == "running"  # a second click changes nothing
    with pytest.raises(LabError, match="stop it before"):
        store.delete(rough)
    store.rename(rough, "renamed on the way")
    assert store.get(rough).heartbeat is not None
    engine.stop(rough)
    run = wait(engine, rough, ended)
    assert run.status == "stopped", run.message
    assert run.resumable
    assert run.saved_step == run.step >= 100
    assert f"go on from step {run.step}" in run.message
    wait(engine, calm, ended)  # two at once are tested; the rest is quicker with the machine to itself

    # A worker that may not write files of the size of its state: what a full disk looks like.
    limit = 100_000
    starved = subprocess.run(
        [sys.executable, "-m", "core", "worker", rough, "--runs-folder", str(store.root)],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    run = store.get(rough)
    assert starved.returncode == 1
    assert run.status == "failed"
    assert run.message.startswith("The disk is full")
    assert run.resumable
    assert read_card(store.folder(rough) / "best").title == "renamed on the way"

    engine.submit(rough)
    wait(engine, rough, lambda run: run.step >= 500)
    os.kill(worker_pid(store, rough), signal.SIGKILL)
    while locks.is_held(store.folder(rough) / "worker.lock"):
        pass
    run = store.get(rough)
    assert run.status == "lost", "a killed worker is recognised at once, without a push"
    assert run.resumable
    assert run.saved_step
    with (store.folder(rough) / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 9')  # as if the kill had cut a row in two

    engine.submit(rough)
    run = wait(engine, rough, ended)
    assert run.status == "finished", run.message
    return calm, rough


def test_an_interrupted_run_equals_an_uninterrupted_one(pair: tuple[str, str], store: RunStore) -> None:
    calm, rough = pair
    assert plain_rows(store, rough) == plain_rows(store, calm)
    for which in ("best", "last"):
        cards = [read_card(store.folder(run_id) / which) for run_id in pair]
        assert cards[0].weights_sha256 == cards[1].weights_sha256
        assert cards[0].calibration == cards[1].calibration
    import torch

    def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from flat(item, f"{path}/{key}")
        else:
            yield path, value

    states = [dict(flat(torch.load(store.folder(run_id) / "state.pt", weights_only=True))) for run_id in pair]
    assert states[0].keys() == states[1].keys()
    assert len(states[0]) > 20
    for path, value in states[0].items():
        other = states[1][path]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, path


def test_a_finished_run_tells_what_it_was_and_gave(pair: tuple[str, str], store: RunStore, config: TrainConfig) -> None:
    run = store.get(pair[0])
    assert run.status == "finished"
    assert run.config == config
    assert run.step == run.total_steps == 1000
    assert run.figure("best_val_accuracy") is not None
    assert run.figure("best_val_accuracy") > 0.5
    assert run.figure("test_accuracy") is not None
    assert f"test accuracy {run.figure('test_accuracy'):.1%}" in run.message
    assert run.seconds > 0.5
    assert run.examples_per_s is not None
    assert run.examples_per_s > 0
    assert run.device == "cpu"
    assert run.threads
    assert run.torch_version
    assert run.code_version
    assert run.peak_memory_bytes
    assert run.peak_memory_bytes > 50e6
    assert run.started
    assert run.ended
    assert run.created
    assert run.created <= run.started <= run.ended
    card = read_card(store.folder(run.id) / "best")
    assert card.metrics["test_accuracy"] == run.figure("test_accuracy")
    assert card.metrics["test_images"] == 60
    assert card.metrics["test_interval"][0] <= run.figure("test_accuracy") <= card.metrics["test_interval"][1]
    assert card.calibration.energy_threshold is not None
    assert card.title == "calm"
    assert "streamlit" not in store.log(run.id).lower()


def test_rows_are_complete_and_seconds_grow_over_resumes(pair: tuple[str, str], store: RunStore) -> None:
    for run_id in pair:
        rows = store.metrics(run_id)
        train = [row for row in rows if row["kind"] == "train"]
        assert [row["step"] for row in rows if row["kind"] == "eval"] == [*range(28, 1000, 28), 1000]
        assert [row["step"] for row in train] == sorted({row["step"] for row in train})
        assert {"epoch", "examples", "lr", "train_loss_nats", "train_accuracy"} <= set(train[0])
        seconds = [row["seconds"] for row in rows]
        assert seconds == sorted(seconds)


def test_a_run_gives_checkpoints_that_load(pair: tuple[str, str], store: RunStore) -> None:
    found = {reference.name: reference for reference in list_checkpoints(store.root)}
    checkpoint = load_checkpoint(found[pair[1]])
    assert checkpoint.card.image_data.classes == ("circle", "cross", "square")
    store.rename(pair[1], "afterwards")
    assert read_card(store.folder(pair[1]) / "best").title == "afterwards"
    assert read_card(store.folder(pair[1]) / "last").title == "afterwards (last)"


def test_one_slot_serves_first_in_first_out(store: RunStore, config: TrainConfig) -> None:
    engine = LocalEngine(store, slots=1)
    first, second, third = (store.create(config) for _ in range(3))
    for run_id in (first, second, third):
        engine.submit(run_id)
    assert [store.get(run_id).status for run_id in (first, second, third)] == ["running", "queued", "queued"]
    assert [store.get(run_id).queue_position for run_id in (first, second, third)] == [None, 1, 2]
    engine.submit(second)  # again: it keeps its place
    assert store.get(second).queue_position == 1
    engine.stop(second)
    engine.submit(second)  # out and in again: it goes to the back
    assert [store.get(run_id).queue_position for run_id in (third, second)] == [1, 2]
    wait(engine, first, lambda run: run.stage != "starting")
    engine.stop(first)
    # Nobody pushes from here on but the worker that ends.
    deadline = time.monotonic() + TIMEOUT_S
    while store.get(third).status == "queued" and time.monotonic() < deadline:
        time.sleep(0.02)
    stopped = store.get(first)
    assert stopped.status == "stopped"
    assert ("the beginning" in stopped.message) is (stopped.saved_step is None)
    assert store.get(third).status == "running"
    assert store.get(second).queue_position == 1
    store.delete(second)
    os.kill(worker_pid(store, third), signal.SIGSTOP)  # it hangs
    impatient = LocalEngine(store, slots=1, grace_s=0.2)
    assert impatient.stop(third).status == "stopping"
    run = wait(impatient, third, ended)
    assert run.status == "stopped"
    assert "before it could save" in run.message


def test_racing_engines_start_each_run_once_and_no_more_than_the_slots(store: RunStore, config: TrainConfig) -> None:
    ids = [store.create(config) for _ in range(4)]
    with store.locked():
        for ticket, run_id in enumerate(ids, 1):
            store.write_status(run_id, status="queued", ticket=ticket)
    script = (
        "import sys; from pathlib import Path; from core.jobs import LocalEngine, RunStore\n"
        "engine = LocalEngine(RunStore(Path(sys.argv[1])), slots=2); input()\n"
        "for _ in range(20): engine.tick()\n"
    )
    command = [sys.executable, "-c", script, str(store.root)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) for _ in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    for racer in racers:
        assert racer.wait(TIMEOUT_S) == 0
        assert racer.stdin is not None
        racer.stdin.close()
    assert [store.get(run_id).status for run_id in ids] == ["running", "running", "queued", "queued"]
    engine = LocalEngine(store, slots=2)
    for run_id in reversed(ids):
        engine.stop(run_id)
    for run_id in ids:
        run = wait(engine, run_id, ended)
        assert run.status == "stopped"
        assert store.log(run_id).count("starting PyTorch") <= 1


def test_a_worker_by_hand_refuses_what_it_may_not_do(
    pair: tuple[str, str], store: RunStore, config: TrainConfig
) -> None:
    broken, taken = store.create(config), store.create(config)
    path = store.folder(broken) / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"config": values["config"] | {"epochs": -1}}))
    handle = locks.take(store.folder(taken) / "worker.lock")
    assert handle is not None
    cases = ((broken, "epochs=-1"), (pair[0], "cannot go on"), (taken, "has a worker already"), ("../x", "run id"))
    for run_id, words in cases:
        command = [sys.executable, "-m", "core", "worker", run_id, "--runs-folder", str(store.root)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert result.returncode == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) == 1
    os.close(handle)


def test_divergence_ends_with_a_sentence_and_is_not_resumed(
    store: RunStore, engine: LocalEngine, config: TrainConfig
) -> None:
    wild = config.replace(optimizer="sgd", lr=9e3, model_config={}, average="none", warmup=0.0, epochs=2)
    missing = config.replace(dataset="folder:/nowhere/at/all")
    run_id, lost_data = store.create(wild), store.create(missing)
    attached = store.create(config)
    engine.submit(run_id)
    engine.submit(lost_data)
    # A run in the foreground of a terminal that is gone by the time it starts leaves the queue.
    terminal = locks.take(store.folder(attached) / FOREGROUND_LOCK)
    assert terminal is not None
    assert engine.submit(attached, attached=True).queue_position == 1
    run = wait(engine, run_id, ended)
    assert run.status == "failed"
    assert "no longer a finite number" in run.message
    assert "learning rate" in run.message
    assert not run.resumable
    run = wait(engine, lost_data, ended)
    assert run.status == "failed"
    assert "/nowhere/at/all" in run.message
    assert "Traceback" not in store.log(lost_data)
    assert run.resumable
    wait(engine, attached, lambda run: run.status == "running")
    os.close(terminal)
    run = wait(engine, attached, ended)
    assert run.status == "stopped"
    assert "terminal" in run.message
