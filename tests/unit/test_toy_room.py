"""A room from elsewhere is in the queue, in the list of runs and on the command line, with Stop and Resume; and whatever the
engine does with a run (kill, stop, resume, lose it) is tested here, because it is the same for every kind."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal

import pytest

from core.common import locks
from core.common.errors import LabError
from core.common.settings import Settings
from core.jobs import LocalEngine, Run, RunStore
from core.jobs.job import Job, Outcome
from core.jobs.kind import JobKind
from core.jobs.store import FOREGROUND_LOCK, WORKER_LOCK
from core.jobs.worker import run_worker
from tests.toy_room import COUNT, CountConfig
from tests.unit.terminal import ROOT, answer, refused, run_main, start

pytestmark = pytest.mark.slow

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.setenv("LAB_SLOTS", "1")
    monkeypatch.setenv("LAB_ROOMS", f"tests.toy_room,{__name__}")


class FailConfig(Settings):
    how: Literal["memory", "error", "deaf"]
    """What goes wrong; `deaf` hears no signal."""


def fail(config: FailConfig, job: Job) -> Outcome:
    job.update(now=True, step=2)
    job.interruptible = False
    while config.how == "deaf":
        time.sleep(0.01)
    raise MemoryError if config.how == "memory" else RuntimeError("not foreseen")


FAIL = JobKind(name="fail", entry=f"{__name__}:fail", read_config=FailConfig.from_dict)
KINDS = (FAIL,)


def new(**settings: object) -> str:
    return RunStore().create(CountConfig(**settings), kind=COUNT.name)  # type: ignore[arg-type]


def failing(how: Literal["memory", "error", "deaf"]) -> str:
    return RunStore().create(FailConfig(how=how), kind=FAIL.name)


def wait_for(run_id: str, *, step: int = 0, ended: bool = False) -> Run:
    """The run once it has done so many steps, or is over."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        run = LocalEngine().state(run_id)
        if (ended and not run.active) or (not ended and run.step >= step):
            return run
        time.sleep(0.05)
    raise AssertionError(f"{run.status}, step {run.step}: {run.message} {RunStore().log(run_id)}")


def test_a_run_of_the_room_is_listed_and_done_by_the_engine() -> None:
    run_id = new(steps=3)
    assert RunStore().get(run_id).name == "Count to 3"
    LocalEngine().submit(run_id)
    run = wait_for(run_id, ended=True)
    assert (run.status, run.message, run.step, run.figures) == ("finished", "Counted to 3.", 3, {"square": 9})
    assert run.config == CountConfig(steps=3)
    assert [row["square"] for row in RunStore().metrics(run_id)] == [1, 4, 9]
    assert [item.id for item in RunStore().list()] == [run_id]


def test_the_room_has_a_command_and_its_runs_are_among_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    counted = answer(capsys, "count", "2", "--json")
    assert (counted["status"], counted["square"], counted["config"]["steps"]) == ("finished", 4, 2)
    assert [row["id"] for row in answer(capsys, "runs", "--json")] == [counted["run_id"]]
    assert "Count to 2" in run_main(capsys, "runs")[1]
    assert "steps=2" in run_main(capsys, "runs", counted["run_id"])[1]


def test_a_run_whose_room_is_gone_is_shown_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = new()
    monkeypatch.delenv("LAB_ROOMS")
    run = RunStore().get(run_id)
    assert (run.status, run.config, run.resumable) == ("failed", None, False)
    assert "'count'" in run.message
    with pytest.raises(LabError, match="'count'"):
        LocalEngine().submit(run_id)


def test_a_stopped_run_goes_on_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new(steps=40, step_s=0.05)
    LocalEngine().submit(run_id)
    wait_for(run_id, step=2)
    assert run_main(capsys, "stop", run_id)[0] == 0
    stopped = RunStore().get(run_id)
    assert (stopped.status, stopped.resumable) == ("stopped", True)
    assert 2 <= stopped.step == stopped.saved_step < 40
    assert run_main(capsys, "resume", run_id)[0] == 0
    assert RunStore().get(run_id).status == "finished"
    assert [row["step"] for row in RunStore().metrics(run_id)] == list(range(1, 41))


def test_ctrl_c_stops_and_tells_how_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    interrupted = start("count", "1000", "--step-s", "0.05")
    assert interrupted.stderr
    silent = threading.Timer(WAIT_S, interrupted.kill)
    silent.start()
    shown = list(itertools.takewhile(lambda line: "%" not in line, interrupted.stderr))  # until it tells how far it is
    silent.cancel()
    (run,) = RunStore().list()
    interrupted.send_signal(signal.SIGINT)
    output, said = interrupted.communicate(timeout=WAIT_S)
    assert interrupted.returncode == 130
    assert output == ""
    assert "\r" not in "".join(shown) + said, "plain lines where nobody watches"
    assert f"python -m core resume {run.id}" in said
    assert "Traceback" not in said
    assert RunStore().get(run.id).status == "stopped"

    assert answer(capsys, "resume", run.id, "--detach", "--json")["status"] == "running"
    assert "already" in refused(capsys, "resume", run.id)
    assert answer(capsys, "stop", run.id, "--json")["status"] == "stopped"
    code, _, said = run_main(capsys, "stop", run.id)
    assert code == 0
    assert "not running" in said


def test_a_killed_run_is_lost_and_goes_on_where_it_was() -> None:
    run_id = new(steps=40, step_s=0.05)
    LocalEngine().submit(run_id)
    wait_for(run_id, step=2)
    lock = RunStore().folder(run_id) / WORKER_LOCK
    os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
    lost = wait_for(run_id, ended=True)
    assert (lost.status, lost.resumable) == ("lost", True)
    assert f"step {lost.saved_step}" in lost.message
    LocalEngine().submit(run_id)
    assert wait_for(run_id, ended=True).status == "finished"
    assert [row["step"] for row in RunStore().metrics(run_id)] == list(range(1, 41))


def test_a_worker_that_does_not_stop_is_ended_after_its_grace() -> None:
    run_id = failing("deaf")
    engine = LocalEngine(grace_s=0.2)
    engine.submit(run_id)
    wait_for(run_id, step=2)
    assert engine.stop(run_id).status == "stopping"
    while engine.state(run_id).active:
        time.sleep(0.05)
    assert RunStore().get(run_id).status == "stopped"


def test_runs_wait_their_turn_and_one_that_waits_can_be_taken_out() -> None:
    first, second, third = new(steps=1000, step_s=0.05), new(), new()
    for run_id in (first, second, third):
        LocalEngine().submit(run_id)
    assert [RunStore().get(run_id).queue_position for run_id in (first, second, third)] == [None, 1, 2]
    assert LocalEngine().stop(second).status == "stopped"
    assert RunStore().get(third).queue_position == 1
    LocalEngine().submit(second)  # out and in again: it goes to the back
    LocalEngine().submit(third)  # again: it keeps its place
    assert [RunStore().get(run_id).queue_position for run_id in (third, second)] == [1, 2]
    LocalEngine().stop(second)
    wait_for(first, step=1)  # a worker that is still starting would end without a push
    LocalEngine().stop(first)
    deadline = time.monotonic() + WAIT_S
    while RunStore().get(third).status != "finished":  # nobody pushes but the worker that ends
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [RunStore().get(run_id).status for run_id in (first, second)] == ["stopped", "stopped"]


@pytest.mark.parametrize(("how", "said"), [("memory", "Memory ran out"), ("error", "RuntimeError")])
def test_an_error_ends_in_a_sentence_and_can_be_tried_again(how: Literal["memory", "error"], said: str) -> None:
    run_id = failing(how)
    assert run_worker(run_id) == "failed"
    run = RunStore().get(run_id)
    assert said in run.message
    assert run.resumable
    assert not locks.is_held(RunStore().folder(run_id) / WORKER_LOCK)


def test_a_full_disk_ends_in_a_sentence_and_the_run_goes_on_later() -> None:
    run_id = new(steps=4, state_bytes=200_000)
    limit = 100_000  # a worker that may not write files of the size of its state
    starved = subprocess.run(
        [sys.executable, "-m", "core", "worker", run_id],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    run = RunStore().get(run_id)
    assert (starved.returncode, run.status, run.resumable) == (1, "failed", True), starved.stderr
    assert "disk is full" in run.message
    assert run_worker(run_id) == "finished"


def test_racing_engines_start_each_run_once_and_no_more_than_the_slots() -> None:
    store, ids = RunStore(), [new(steps=1000, step_s=0.05) for _ in range(4)]
    with store.locked():
        for ticket, run_id in enumerate(ids, 1):
            store.write_status(run_id, status="queued", ticket=ticket)
    script = (
        "from core.jobs import LocalEngine\nengine = LocalEngine(slots=2); input()\nfor _ in range(20): engine.tick()\n"
    )
    racers = [subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, cwd=ROOT) for _ in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    for racer in racers:
        assert racer.wait(WAIT_S) == 0
        assert racer.stdin is not None
        racer.stdin.close()
    assert [store.get(run_id).status for run_id in ids] == ["running", "running", "queued", "queued"]
    for run_id in reversed(ids):
        LocalEngine().stop(run_id)
    for run_id in ids:
        assert wait_for(run_id, ended=True).status == "stopped"
        assert store.log(run_id).count("starting PyTorch") <= 1


def test_a_run_whose_terminal_is_gone_stops() -> None:
    first, attached = new(steps=1000, step_s=0.05), new(steps=1000, step_s=0.05)
    LocalEngine().submit(first)
    terminal = locks.take(RunStore().folder(attached) / FOREGROUND_LOCK)
    assert terminal is not None
    assert LocalEngine().submit(attached, attached=True).queue_position == 1
    LocalEngine().stop(first)
    wait_for(attached, step=1)
    os.close(terminal)
    run = wait_for(attached, ended=True)
    assert run.status == "stopped"
    assert "terminal" in run.message


def test_a_worker_by_hand_refuses_what_it_may_not_do(capsys: pytest.CaptureFixture[str]) -> None:
    store, broken, finished, taken = RunStore(), new(), new(), new()
    path = store.folder(broken) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"config": {"banana": 1}}))
    assert run_worker(finished) == "finished"
    handle = locks.take(store.folder(taken) / WORKER_LOCK)
    assert handle is not None
    capsys.readouterr()
    cases = ((broken, "banana"), (finished, "cannot go on"), (taken, "has a worker already"), ("../x", "run id"))
    for run_id, words in cases:
        assert words in refused(capsys, "worker", run_id)
    os.close(handle)


def test_a_run_at_work_is_not_deleted_nor_started_twice() -> None:
    run_id = new(steps=1000, step_s=0.05)
    LocalEngine().submit(run_id)
    assert LocalEngine().submit(run_id).status == "running"
    with pytest.raises(LabError, match="stop it before"):
        RunStore().delete(run_id)
    wait_for(run_id, step=1)
    RunStore().rename(run_id, "renamed on the way")
    LocalEngine().stop(run_id, now=True)
    assert wait_for(run_id, ended=True).name == "renamed on the way"
