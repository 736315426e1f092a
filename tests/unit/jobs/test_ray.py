"""A real Ray cluster of three nodes on this machine: runs and a study on it, one node lost, and the same weights."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.benchmark.cluster import local_cluster
from core.common.errors import LabError
from core.jobs import Run, RunStore, open_engine
from core.jobs.engine import ROOT
from core.jobs.pool import OWN_JOB
from core.jobs.ray_engine import HANDED_OVER, RayEngine, Request
from core.jobs.store import WORKER_LOCK
from core.jobs.worker import do_run
from core.regularization.kind import STUDY
from core.regularization.study import StudyConfig
from core.training.config import TrainConfig
from core.training.recipes import get_recipe
from tests.unit.failures import refusal

pytestmark = [pytest.mark.slow, pytest.mark.alone]

WAIT_S = 400


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of two cores each."""
    with local_cluster(2, 2, tmp_path_factory.mktemp("ray") / "token") as (made, _):
        yield made


@pytest.fixture
def engine(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayEngine:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.setenv("LAB_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", f"http://{cluster.head_node.address_info['webui_url']}")
    found = open_engine()
    assert isinstance(found, RayEngine)
    return found


def until(engine: RayEngine, ready: Callable[[list[Run]], object]) -> list[Run]:
    """Push the queue until the runs are as they should be."""
    deadline = time.monotonic() + WAIT_S
    while not ready(runs := engine.store.list()):
        assert time.monotonic() < deadline, [(run.name, run.status, run.step, run.message) for run in runs]
        engine.tick()
        time.sleep(0.3)
    return runs


def at_rest(runs: list[Run]) -> bool:
    return not any(run.active for run in runs)


def weights(folder: Path) -> dict[str, str]:
    """Checksums of all weights below a folder."""
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("**/*.safetensors")
    }
    return {name: value for name, value in found.items() if "epochs" not in name}


def alone(store: RunStore, config: Any, kind: str) -> Path:
    """The folder of the same run, done by one worker with one thread on this machine."""
    run_id = store.create(config, kind=kind)
    environment = {name: value for name, value in os.environ.items() if name != "LAB_ENGINE"} | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", "core", "worker", run_id, "--runs-folder", str(store.root)],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )
    assert store.get(run_id).status == "finished", store.get(run_id).message
    return store.folder(run_id)


def test_a_lost_node_costs_nothing_and_the_weights_are_those_of_one_machine(
    cluster: Any, engine: RayEngine, tmp_path: Path, tiny_dataset_folder: Path
) -> None:
    store, dataset = engine.store, f"folder:{tiny_dataset_folder}"
    recipe = get_recipe("simple_cnn", "quick").replace(dataset=dataset, device="cpu", eval_every=20)
    configs: list[tuple[Any, str]] = [(recipe.replace(epochs=epochs), "train") for epochs in (60, 20)]
    configs.append(
        (StudyConfig(dataset=dataset, arms=("none", "dropout"), train_sizes=(60,), seeds=1, steps=20), STUDY.name)
    )
    ids = [store.create(config, kind=kind) for config, kind in configs]
    for run_id in ids:
        assert engine.submit(run_id).message == HANDED_OVER

    until(engine, lambda runs: store.get(ids[0]).step > 10)
    lost = node_of(cluster, engine, ids[0])
    workers = [store.folder(run_id) / WORKER_LOCK for run_id in ids]
    cluster.remove_node(lost, allow_graceful=False)
    kill(workers[0])
    until(engine, lambda runs: store.get(ids[0]).status == "lost")
    engine.submit(ids[0])

    def go_on(runs: list[Run]) -> bool:
        """Who was on that node is started again, once."""
        for run in runs:
            if run.status in ("lost", "failed"):
                engine.submit(run.id)
        return all(run.status == "finished" for run in runs)

    until(engine, go_on)
    other = RunStore(tmp_path / "alone")
    for run_id, (config, kind) in zip(ids, configs, strict=True):
        expected, found = weights(alone(other, config, kind)), weights(store.folder(run_id))
        assert expected
        assert found == expected


def node_of(cluster: Any, engine: RayEngine, run_id: str) -> Any:
    """The node on which Ray put a run."""
    job = str(engine.store.status(run_id)["ray_job"])
    info = engine._ask(lambda client: client.get_job_info(job))
    return next(node for node in cluster.worker_nodes if node.node_id == info.driver_node_id)


def kill(lock: Path) -> None:
    """End the worker that holds a lock, as the loss of its machine does."""
    pid = int(lock.read_text().split()[0])
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


def test_a_run_that_waits_is_taken_back(cluster: Any, engine: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_RAY_CPUS", "64")  # more than any node has
    run_id = engine.store.create(TrainConfig())
    assert engine.submit(run_id).status == "queued"
    assert engine.store.get(run_id).queue_position == 1
    job = str(engine.store.status(run_id)["ray_job"])
    assert engine.stop(run_id).status == "stopped"
    monkeypatch.setenv(OWN_JOB, job)  # Ray may start it yet, once there is room
    with refusal("taken back"):
        do_run(engine.store, run_id)
    assert at_rest(engine.store.list())


def test_who_has_no_token_is_refused(cluster: Any, engine: RayEngine) -> None:
    """In a separate process: Ray reads the token once."""
    run_id = engine.store.create(TrainConfig())
    environment = os.environ | {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "0" * 64}
    command = [sys.executable, "-m", "core", "resume", run_id]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "refused" in done.stderr
    assert "token" in done.stderr
    assert "Traceback" not in done.stderr
    assert engine.store.get(run_id).status == "stopped"


def test_a_worker_with_other_code_says_so(engine: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs.ray_engine.code_version", lambda: "0.0.1")
    run_id = engine.store.create(TrainConfig())
    engine.submit(run_id)
    until(engine, at_rest)
    run = engine.store.get(run_id)
    assert run.status == "failed"
    assert "0.0.1" in run.message
    assert run.resumable


def test_an_address_where_nothing_answers_is_one_sentence_and_the_run_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    run_id = store.create(TrainConfig())
    with refusal("No Ray cluster answers at http://127.0.0.1:9"):
        RayEngine(store, address="http://127.0.0.1:9").submit(run_id)
    assert store.get(run_id).status == "stopped"
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with refusal("RAY_ADDRESS"):
        RayEngine(store)
    monkeypatch.setenv("LAB_ENGINE", "slurm")
    with refusal("slurm"):
        open_engine(store)


@pytest.mark.parametrize(
    ("name", "value"), [("LAB_RAY_CPUS", "0"), ("LAB_RAY_MEMORY_GB", "lots"), ("LAB_RAY_RUNTIME_ENV", "[1]")]
)
def test_a_request_that_is_none_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(LabError, match=name):
        Request.from_environment()
