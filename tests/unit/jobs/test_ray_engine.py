"""What RayEngine decides, with a stand-in for Ray's client: a real cluster is in test_ray.py."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.common import locks
from core.jobs import LocalEngine, RunStore, ray_engine
from core.jobs.pool import OWN_JOB
from core.jobs.ray_engine import RayEngine
from core.jobs.store import FOREGROUND_LOCK, JOB, WORKER_LOCK
from core.jobs.worker import SERVER_CODE, _beat, _claim
from core.training.config import TrainConfig
from tests.unit.failures import refusal


class Cluster:
    """Takes jobs and does none of them."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.ended: list[str] = []
        self.problem: Exception | None = None

    def get_version(self) -> str:
        if self.problem:
            raise self.problem
        return "0"

    def submit_job(self, *, submission_id: str, **job: Any) -> str:
        self.get_version()
        self.jobs[submission_id] = job
        return submission_id

    def stop_job(self, job: str) -> bool:
        self.ended.append(job)
        return True

    def get_job_info(self, job: str) -> Any:
        if job not in self.jobs:
            raise RuntimeError(f"Request failed with status code 404: {job}")
        return SimpleNamespace(status=SimpleNamespace(is_terminal=lambda: False))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    client = SimpleNamespace(JobSubmissionClient=lambda address: made)
    monkeypatch.setitem(__import__("sys").modules, "ray.job_submission", client)
    monkeypatch.setattr(ray_engine, "LOOK_EVERY_S", 0.0)
    return made


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def engine(runs: RunStore, slots: int = 2) -> RayEngine:
    return RayEngine(runs, slots=slots, address="http://127.0.0.1:1")


def submit(runs: RunStore, users: str = "A", slots: int = 2) -> list[str]:
    """A run of each user, in this order."""
    ids = [runs.create(TrainConfig()) for _ in users]
    for run_id, user in zip(ids, users, strict=True):
        engine(runs, slots).submit(run_id, user=user)
    return ids


def job_of(runs: RunStore, run_id: str) -> str | None:
    return runs.status(run_id).get(JOB)


def test_no_more_are_handed_over_than_there_are_slots_and_users_take_turns(cluster: Cluster, runs: RunStore) -> None:
    ids = submit(runs, "AABCD")
    assert [bool(job_of(runs, run_id)) for run_id in ids] == [True, True, False, False, False]
    assert [runs.get(run_id).queue_position for run_id in ids] == [1, 2, 3, 4, 5]
    late = submit(runs, "AE")
    assert runs.get(late[1]).queue_position == 6, "another user's first run passes a third of A's"
    assert len(cluster.jobs) == 2


def test_an_engine_of_this_machine_leaves_what_a_cluster_has(cluster: Cluster, runs: RunStore) -> None:
    (run_id,) = submit(runs)
    local = LocalEngine(runs, slots=4)
    local.tick()
    assert runs.get(run_id).status == "queued"
    assert not locks.is_held(runs.folder(run_id) / WORKER_LOCK)


@pytest.mark.parametrize("kind", [RayEngine, LocalEngine])
def test_the_worker_of_a_run_that_was_taken_back_does_not_begin(
    cluster: Cluster, runs: RunStore, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    (run_id,) = submit(runs)
    job = str(job_of(runs, run_id))
    (engine(runs) if kind is RayEngine else LocalEngine(runs, slots=1)).stop(run_id)
    assert cluster.ended == ([job] if kind is RayEngine else [])
    monkeypatch.setenv(OWN_JOB, job)
    with refusal("taken back"):
        _claim(runs, run_id)
    assert runs.get(run_id).status == "stopped"


def test_a_run_of_a_terminal_still_belongs_to_it_on_a_cluster(
    cluster: Cluster, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = runs.create(TrainConfig())
    terminal = locks.take(runs.folder(run_id) / FOREGROUND_LOCK)
    assert terminal is not None
    engine(runs).submit(run_id, attached=True)
    job = str(job_of(runs, run_id))
    monkeypatch.setenv(OWN_JOB, job)
    os.close(_claim(runs, run_id))
    assert (runs.folder(run_id) / FOREGROUND_LOCK).exists()
    with runs.locked():
        runs.write_status(run_id, status="queued")
    os.close(terminal)
    engine(runs).tick()
    assert runs.get(run_id).status == "stopped"
    assert cluster.ended == [job]


def test_a_job_that_the_head_forgot_is_handed_over_once_more(cluster: Cluster, runs: RunStore) -> None:
    (run_id,) = submit(runs)
    first = job_of(runs, run_id)
    cluster.jobs.clear()
    engine(runs).tick()
    assert job_of(runs, run_id) not in (None, first)


def test_a_refusal_is_said_where_the_run_waits_and_nobody_else_is_hindered(cluster: Cluster, runs: RunStore) -> None:
    cluster.problem = RuntimeError("Client version\n2.1 does not match")
    run_id = runs.create(TrainConfig())
    with refusal("2.1 does not match"):
        engine(runs).submit(run_id)
    assert runs.get(run_id).status == "stopped"
    with runs.locked():
        runs.write_status(run_id, status="queued", ticket=1)
    for _ in range(2):
        engine(runs).tick()
    assert "2.1 does not match" in runs.get(run_id).message


def test_a_head_that_hangs_is_given_up(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run_id = runs.create(TrainConfig())
        with refusal("No Ray cluster answers"):
            RayEngine(runs, address=f"http://127.0.0.1:{silent.getsockname()[1]}").submit(run_id)


def test_what_a_worker_starts_next_has_the_servers_version(
    cluster: Cluster, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER_CODE, "9.9")
    monkeypatch.setenv(OWN_JOB, "of-another-run")
    monkeypatch.setenv("LAB_READ_ONLY", "0")
    submit(runs)
    (job,) = cluster.jobs
    variables = cluster.jobs[job]["runtime_env"]["env_vars"]
    assert variables[SERVER_CODE] == "9.9"
    assert variables[OWN_JOB] == job
    assert "LAB_READ_ONLY" not in variables


def test_a_request_that_is_not_valid_is_refused_before_anything_is_queued(
    cluster: Cluster, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_RAY_CPUS", "1.9")
    run_id = runs.create(TrainConfig())
    with refusal("LAB_RAY_CPUS"):
        engine(runs).submit(run_id)
    assert runs.get(run_id).status == "stopped"


def test_a_long_step_keeps_the_status_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs.worker.BEAT_S", 0.01)
    status, over = tmp_path / "status.json", threading.Event()
    status.write_text("{}")
    os.utime(status, (1, 1))
    beating = threading.Thread(target=_beat, args=(status, over))
    beating.start()
    until(lambda: status.stat().st_mtime > 1)
    over.set()
    beating.join(5)
    assert not beating.is_alive()


def until(ready: Callable[[], bool]) -> None:
    for _ in range(500):
        if ready():
            return
        threading.Event().wait(0.01)
    raise AssertionError
