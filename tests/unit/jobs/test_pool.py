"""The crew of processes that does a study's runs, with processes that behave badly in place of those that train."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.common import devices
from core.jobs import pool
from core.jobs.pool import PoolTask, TaskResult, WorkerPool, crew_size

pytestmark = pytest.mark.slow

FAKE = """
import json, os, sys, time
print(os.getpid(), file=open(os.path.join(sys.argv[1], "started"), "a"))
for line in sys.stdin:
    verb, name = line.split()
    if name == "die":
        os._exit(3)
    if name == "linger":  # says no more, and lives on
        os.close(1)
        time.sleep(600)
    if name == "torn":
        os.write(1, b'{"status": "fin')
        os._exit(3)
    if name == "deaf":  # hears nothing, not even that stdin is closed
        time.sleep(600)
    say = {"status": "finished", "message": f"{verb} {name} on {os.environ.get('CUDA_VISIBLE_DEVICES')}"}
    print(json.dumps(say), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fake_member.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


@pytest.fixture
def two(folder: Path) -> Iterator[WorkerPool]:
    made = WorkerPool("fake_member", folder, 2, [])
    yield made
    made.stop(lambda: None)
    assert not any(map(psutil.pid_exists, started(folder)))


def started(folder: Path) -> list[int]:
    path = folder / "started"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def tasks(*names: str) -> list[PoolTask]:
    return [PoolTask(verb="train", member_id=name) for name in names]


def do(team: WorkerPool, *names: str) -> dict[str, TaskResult]:
    return {answer.task.member_id: answer for answer in team.run(tasks(*names), lambda in_hand: None)}


def test_every_task_is_answered_once_by_as_few_processes_as_it_takes(two: WorkerPool, folder: Path) -> None:
    assert [answer.message for answer in do(two, "a").values()] == ["train a on None"]
    assert len(started(folder)) == 1
    seen: list[list[PoolTask]] = []
    answers = list(two.run(tasks(*"bcdefg"), seen.append))
    assert sorted(answer.task.member_id for answer in answers) == list("bcdefg")
    assert {answer.status for answer in answers} == {"finished"}
    assert len(started(folder)) == 2
    assert max(map(len, seen)) == 2
    assert list(two.run([], seen.append)) == []


@pytest.mark.parametrize("how", ["die", "linger", "torn"])
def test_a_process_that_ends_loses_its_task_and_no_other(two: WorkerPool, folder: Path, how: str) -> None:
    answers = do(two, how, "b", "c", "d")
    assert answers[how].status == "died"
    assert {answers[name].status for name in "bcd"} == {"finished"}
    assert do(two, "e", "f")["e"].status == "finished"
    assert len(started(folder)) <= 3


def test_one_that_is_killed_while_it_has_nothing_to_do_is_replaced(two: WorkerPool, folder: Path) -> None:
    do(two, "a", "b")
    for process in map(psutil.Process, started(folder)):
        process.kill()
    again = [name for name, answer in do(two, "c", "d", "e").items() if answer.status == "died"]
    assert all(answer.status == "finished" for answer in do(two, "f", *again).values())


def test_stop_ends_those_that_hear_and_kills_those_that_do_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRACE_S", 0.3)
    team, looks = WorkerPool("fake_member", folder, 2, []), []

    def enough(in_hand: list[PoolTask]) -> None:
        looks.append(in_hand)
        if len(in_hand) == 1 and len(started(folder)) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(team.run(tasks("deaf", "b"), enough))
    waited = []
    team.stop(lambda: waited.append(1))
    assert waited
    assert not any(map(psutil.pid_exists, started(folder)))


def test_a_stopped_process_is_ended_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRACE_S", 0.2)
    team = WorkerPool("fake_member", folder, 1, [])
    do(team, "a")
    os.kill(started(folder)[0], signal.SIGSTOP)
    team.stop(lambda: None)
    assert not psutil.pid_exists(started(folder)[0])


def test_each_place_has_a_gpu_of_its_own_and_one_alone_the_choice(folder: Path) -> None:
    team = WorkerPool("fake_member", folder, 2, ["4", "6"])
    told = {answer.message.rpartition(" ")[2] for answer in team.run(tasks(*"abcdef"), lambda in_hand: None)}
    team.stop(lambda: None)
    assert told == {"4", "6"}
    alone = WorkerPool("fake_member", folder, 1, ["4", "6"])  # cuda:1 is there only while both are
    assert do(alone, "a")["a"].message == "train a on None"
    alone.stop(lambda: None)


def test_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def memory(free_bytes: int) -> None:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": free_bytes}))

    memory(10**12)
    monkeypatch.setattr(devices, "apple_gpu", lambda: False)
    monkeypatch.setattr(devices, "cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # what the engine gives to each of two runs on six cores
    assert crew_size(45, "auto", []) == crew_size(45, "cpu", ["0"]) == 3
    assert crew_size(2, "auto", []) == 2
    memory(2 * pool.MEMORY_BYTES)
    assert crew_size(45, "auto", []) == 2
    memory(0)
    assert crew_size(45, "auto", []) == 1
    memory(10**12)
    for nonsense in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert crew_size(45, "auto", []) == 6
    assert crew_size(45, "auto", ["4", "6"]) == crew_size(45, "cuda", ["4", "6"]) == 2
    assert crew_size(1, "auto", ["4", "6"]) == crew_size(45, "cuda:1", ["4", "6"]) == 1
    monkeypatch.setattr(devices, "apple_gpu", lambda: True)
    assert crew_size(45, "auto", []) == crew_size(45, "mps", []) == 1
    assert crew_size(45, "cpu", []) == 6
