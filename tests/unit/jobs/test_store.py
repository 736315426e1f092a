"""Runs on disk: ids, damage, names, queue places and locks. No worker is started here."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.common import devices, locks
from core.common.errors import LabError
from core.jobs import LocalEngine, RunStore, job, listing, metrics, store
from core.jobs.engine import gpus, slots_from_environment
from core.jobs.store import FOREGROUND_LOCK, STOP, WORKER_LOCK
from core.regularization.kind import STUDY
from core.regularization.study import StudyConfig
from core.training.config import TrainConfig
from tests.unit.failures import failing, refusal


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run_id(runs: RunStore) -> str:
    """Of a run that was just created."""
    return runs.create(TrainConfig())


def set_status(runs: RunStore, run_id: str, **changes: object) -> None:
    with runs.locked():
        runs.write_status(run_id, **changes)


def edit_config(runs: RunStore, run_id: str, **changes: object) -> None:
    path = runs.folder(run_id) / "config.json"
    values = json.loads(path.read_text())
    values["config"] |= changes
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "bad",
    ["../x", "..", ".", "", "/etc/passwd", "a/b", "a\0b", "x" * 200, "a b", "a.b", "ünï", "a\n", "%2e%2e", None, 7],
)
def test_a_bad_id_is_refused_in_one_sentence(runs: RunStore, bad: str) -> None:
    runs.create(TrainConfig())
    engine = LocalEngine(runs, slots=1)
    for call in (runs.get, runs.metrics, runs.log, runs.delete, engine.submit, engine.stop):
        with refusal("run id"):
            call(bad)


def test_an_unknown_id_is_told(runs: RunStore) -> None:
    with pytest.raises(LabError, match="There is no run 20261124-031500-simple_cnn-ab12"):
        runs.get("20261124-031500-simple_cnn-ab12")


def test_a_new_run_keeps_all_it_was_given(runs: RunStore) -> None:
    config = TrainConfig(epochs=3, seed=7, model_config={"dropout": 0.1})
    first, second = runs.create(config, "  my\trun\n"), runs.create(TrainConfig())
    run = runs.get(first)
    assert (run.name, run.config, run.kind) == ("my run", config, "train")
    assert run.status == "stopped"
    assert run.resumable
    assert not run.active
    assert run.created is not None
    assert [item.id for item in runs.list()] == [second, first]


def test_default_names_tell_runs_apart(runs: RunStore) -> None:
    names = [runs.get(runs.create(TrainConfig())).name for _ in range(3)]
    assert names == [
        "Simple CNN on CIFAR-10",
        "Simple CNN on CIFAR-10 (2)",
        "Simple CNN on CIFAR-10 (3)",
    ]


def test_an_unknown_model_makes_no_run(runs: RunStore) -> None:
    with pytest.raises(LabError, match="no model named 'gpt'"):
        runs.create(TrainConfig(model="gpt"))
    assert runs.list() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", -1), ("lr", float("nan")), ("banana", 1), ("batch_size", "many"), ("epochs", 10**400), ("lr", 10**400)],
)
def test_a_configuration_broken_by_hand_is_shown_with_the_reason(runs: RunStore, field: str, value: object) -> None:
    run_id = runs.create(TrainConfig(seed=5))
    edit_config(runs, run_id, **{field: value})
    run = runs.get(run_id)
    assert run.status == "failed"
    assert field in run.message
    assert "\n" not in run.message
    assert run.config.seed == 5
    assert [item.id for item in runs.list()] == [run_id]
    with pytest.raises(LabError, match=field):
        LocalEngine(runs, slots=1).submit(run_id)
    runs.delete(run_id)
    assert runs.list() == []


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"status": 3}', '{"status": "odd"}', "\xff", "x" * 2_000_000, "[" * 100_000],
)
def test_a_damaged_status_leaves_a_run_that_can_go_on(runs: RunStore, run_id: str, content: str) -> None:
    (runs.folder(run_id) / "status.json").write_text(content, encoding="latin-1")
    run = runs.get(run_id)
    assert run.status == "lost"
    assert run.resumable
    assert "resume" in run.message


def test_numbers_of_a_status_that_make_no_sense_are_left_out(runs: RunStore, run_id: str) -> None:
    path = runs.folder(run_id) / "status.json"
    path.write_text(
        '{"status": "stopped", "step": "many", "seconds": NaN, "started": 1e300, "threads": true, "epoch": null, '
        f'"total_steps": {10**400}}}'
    )
    run = runs.get(run_id)
    assert (run.step, run.seconds, run.started, run.threads, run.figure("epoch")) == (0, 0.0, None, None, None)
    assert run.total_steps == 0


def test_a_torn_metrics_line_is_left_out(runs: RunStore, run_id: str) -> None:
    assert runs.metrics(run_id) == []
    rows = [{"kind": "train", "step": step, "epoch": 0.1, "train_loss_nats": 1.0 / step} for step in (1, 2, 3)]
    path = runs.folder(run_id) / "metrics.jsonl"
    path.write_text("".join(map(metrics.to_line, rows)) + '{"kind": "train", "st')
    assert runs.metrics(run_id) == rows
    with path.open("a") as file:
        file.write('\n\xff{"kind": 1}\n[]\n' + metrics.to_line({"kind": "eval", "step": 4, "epoch": 1}))
    assert runs.metrics(run_id) == [*rows, {"kind": "eval", "step": 4, "epoch": 1}]


@pytest.mark.parametrize(
    "change", [{"epoch": None}, {"step": 1.5}, {"kind": "x"}, {"lr": [1]}, {"lr": "1"}, {"lr": 10**400}]
)
def test_a_row_without_its_place_or_with_no_numbers_is_left_out(tmp_path: Path, change: dict[str, object]) -> None:
    good = {"kind": "eval", "step": 1, "epoch": 1.0, "lr": None}
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | change) + "\n" + "[" * 100_000 + "\n")
    assert metrics.read_rows(path) == [good]


def test_what_a_killed_process_left_of_its_writing_is_removed(runs: RunStore, run_id: str) -> None:
    for name in (".deleted-old-1", ".new-old", ".new-fresh"):
        (runs.root / name).mkdir()
        (runs.root / name / "weights").write_bytes(b"x")
    os.utime(runs.root / ".new-old", (1, 1))
    name = runs.folder(run_id) / ".config.json.abcdefgh"  # a page may be renaming the run at this moment
    name.write_bytes(b"x")
    halves = [runs.folder(run_id) / ".state.pt.abcd_123", runs.folder(run_id) / "best" / ".card.json.abcdefgh"]
    for half in halves:
        half.parent.mkdir(exist_ok=True)
        half.write_bytes(b"x")
    job.Job(runs, runs.get(run_id))
    assert not any(half.exists() for half in halves)
    assert name.exists()
    assert {"config.json", "status.json"} <= {item.name for item in runs.folder(run_id).iterdir()}
    runs.create(TrainConfig())
    assert sorted(item.name for item in runs.root.glob(".[nd]*")) == [".new-fresh"]


def test_a_download_says_its_rate_and_time_left_and_can_be_stopped(runs: RunStore, run_id: str) -> None:
    set_status(runs, run_id, status="running")
    handle = locks.take(runs.folder(run_id) / WORKER_LOCK, wait_s=1.0)
    assert handle is not None
    working = job.Job(runs, runs.get(run_id))
    working.downloading(0.43, "download cifar10 (2.5 MB/s, 1:05 left)")
    run = runs.get(run_id)
    assert run.stage == "download cifar10 (2.5 MB/s, 1:05 left), 43%"
    assert run.stage_fraction == 0.43
    (runs.folder(run_id) / STOP).touch()
    with pytest.raises(job.Stopped):
        working.downloading(0.44, "download cifar10")
    os.close(handle)


def test_rewinding_drops_what_will_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics.keep_until(path, 0, 0)
    assert not path.exists()
    rows = [{"kind": kind, "step": step, "epoch": 1.0} for step in (5, 10, 15) for kind in ("train", "eval")]
    path.write_text("".join(map(metrics.to_line, rows)) + '{"torn')
    metrics.keep_until(path, 10, 5)
    assert metrics.read_rows(path) == rows[:3]


def test_numbers_that_are_not_finite_become_null() -> None:
    line = metrics.to_line({"a": float("nan"), "b": float("-inf"), "c": 1.5})
    assert json.loads(line) == {"a": None, "b": None, "c": 1.5}


def test_names_are_checked_and_changed(runs: RunStore, run_id: str) -> None:
    runs.rename(run_id, "better")
    assert runs.get(run_id).name == "better"
    for bad in ("", "   ", "\n", "x" * 101):
        with pytest.raises(LabError, match="name"):
            runs.rename(run_id, bad)


def test_the_log_is_read_from_its_end(runs: RunStore, run_id: str) -> None:
    assert runs.log(run_id) == ""
    (runs.folder(run_id) / "log.txt").write_bytes(b"a" * 100 + b"\xff end")
    assert runs.log(run_id, most_bytes=6) == "a\ufffd end"


def test_queue_places_follow_the_tickets(runs: RunStore) -> None:
    ids = [runs.create(TrainConfig()) for _ in range(3)]
    for run_id, ticket in zip(ids, (9, 3, 5)):
        set_status(runs, run_id, status="queued", ticket=ticket)
    assert [runs.get(run_id).queue_position for run_id in ids] == [3, 1, 2]
    engine = LocalEngine(runs, slots=1)
    handle = locks.take(runs.folder(ids[1]) / WORKER_LOCK)
    assert handle is not None
    set_status(runs, ids[1], status="running")
    engine.tick()
    assert [runs.get(run_id).queue_position for run_id in ids] == [2, None, 1]
    engine.stop(ids[2])
    assert runs.get(ids[2]).status == "stopped"
    assert runs.get(ids[0]).queue_position == 1
    engine.stop(ids[0])
    os.close(handle)


@pytest.mark.slow
def test_a_run_whose_lock_is_free_is_lost_at_once(runs: RunStore, run_id: str) -> None:
    path = runs.folder(run_id) / WORKER_LOCK
    script = "import sys; from pathlib import Path; from core.common import locks; locks.take(Path(sys.argv[1])); input('go')"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert holder.stdout is not None
    assert holder.stdout.read(2) == b"go"
    set_status(runs, run_id, status="running", step=12)
    assert runs.get(run_id).status == "running"
    with pytest.raises(LabError, match="stop it before"):
        runs.delete(run_id)
    holder.send_signal(signal.SIGKILL)
    while locks.is_held(path):  # it is still a zombie, and must not count as alive
        pass
    run = runs.get(run_id)
    assert run.status == "lost"
    assert run.resumable
    assert "the beginning" in run.message
    LocalEngine(runs, slots=1).tick()
    assert runs.status(run_id)["status"] == "lost"
    holder.communicate()


@pytest.mark.parametrize(
    ("host", "age_s", "status"), [("another", 5, "running"), ("another", 90, "lost"), ("", 5, "lost")]
)
def test_a_worker_on_another_machine_is_known_by_its_lock_or_its_heartbeat(
    runs: RunStore, run_id: str, host: str, age_s: float, status: str
) -> None:
    set_status(runs, run_id, status="running", step=12)
    folder = runs.folder(run_id)
    (folder / WORKER_LOCK).write_text(f"123 {host or socket.gethostname()}")  # which nobody holds, as seen from here
    then = (folder / "status.json").stat().st_mtime - age_s
    os.utime(folder / "status.json", (then, then))
    assert runs.get(run_id).status == status


def test_a_queued_run_of_a_closed_terminal_leaves_the_queue(runs: RunStore, run_id: str) -> None:
    set_status(runs, run_id, status="queued", ticket=1)
    (runs.folder(run_id) / FOREGROUND_LOCK).touch()
    LocalEngine(runs, slots=1).tick()
    run = runs.get(run_id)
    assert run.status == "stopped"
    assert "terminal" in run.message


def test_looking_at_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not locks.is_held(path)
    assert not path.exists()
    handle = locks.take(path)
    assert handle is not None
    assert locks.is_held(path)
    assert locks.take(path) is None
    with pytest.raises(LabError, match="Another process"), locks.held(path, wait_s=0.05):
        pass
    os.close(handle)
    assert not locks.is_held(path)
    with locks.held(path):
        assert locks.is_held(path)


def test_the_last_status_fits_on_a_full_disk(runs: RunStore, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work = job.Job(runs, runs.get(run_id))
    work.update(now=True, stage="training", step=3, saved_step=2)
    monkeypatch.setattr(job, "write_atomic", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        work.update(now=True, step=4)
    work.end("failed", "The disk is full.")
    run = runs.get(run_id)
    assert (run.status, run.message, run.step) == ("failed", "The disk is full.", 4)
    assert not (runs.folder(run_id) / job.RESERVE).exists()


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    broken = RunStore(tmp_path / "file" / "runs")
    for act in (lambda: broken.create(TrainConfig()), broken.list):
        with refusal("LAB_HOME"):
            act()


def test_a_finished_run_is_not_resumed(runs: RunStore, run_id: str) -> None:
    set_status(runs, run_id, status="finished")
    with pytest.raises(LabError, match="has finished"):
        LocalEngine(runs, slots=1).submit(run_id)
    set_status(runs, run_id, status="failed", final=True, message="The loss was no longer a number.")
    with pytest.raises(LabError, match="no longer a number"):
        LocalEngine(runs, slots=1).submit(run_id)


def test_slots_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SLOTS", "3")
    assert slots_from_environment() == 3
    for bad in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("LAB_SLOTS", bad)
        with pytest.raises(LabError, match="LAB_SLOTS"):
            slots_from_environment()
    monkeypatch.delenv("LAB_SLOTS")
    assert slots_from_environment() >= 1
    with pytest.raises(LabError, match="slots=0"):
        LocalEngine(RunStore(Path("/nowhere")), slots=0)


def test_each_run_gets_a_gpu_of_its_own(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_GPUS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert gpus() == ["4", "6"]
    engine = LocalEngine(runs, slots=2)
    first, second, third = (runs.create(config) for config in (TrainConfig(), TrainConfig(), TrainConfig(device="cpu")))
    assert engine._free_gpu(runs.get(first), []) == "4"
    set_status(runs, first, gpu="4")
    assert engine._free_gpu(runs.get(second), [runs.get(first)]) == "6"
    assert engine._free_gpu(runs.get(third), [runs.get(first)]) is None
    environment = engine._environment(runs.get(second), "6")
    assert environment["CUDA_VISIBLE_DEVICES"] == "6"
    assert environment["LAB_GPUS"] == "4,6"
    # What that worker would start when it ends may again use both.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6")
    monkeypatch.setenv("LAB_GPUS", environment["LAB_GPUS"])
    assert engine._environment(runs.get(third), None)["CUDA_VISIBLE_DEVICES"] == "4,6"


def test_a_resumed_run_keeps_its_number_of_threads(runs: RunStore, run_id: str) -> None:
    set_status(runs, run_id, threads=3)
    environment = LocalEngine(runs, slots=1)._environment(runs.get(run_id), None)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["GOMP_SPINCOUNT"] == str(devices.WORKER_SPINS)


def test_a_listing_of_runs_that_change_fast_is_never_stale(runs: RunStore, run_id: str) -> None:
    path = runs.folder(run_id) / "status.json"
    for number in range(300):
        (runs.root / ".new").write_text(json.dumps({"status": "finished", "step": number % 10}))
        os.replace(runs.root / ".new", path)
        assert runs.list()[0].step == number % 10


def at_rest(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three finished runs, old enough that a listing remembers them."""
    ids = [runs.create(TrainConfig(), f"run {number}") for number in range(3)]
    for run_id in ids:
        set_status(runs, run_id, status="finished")
    monkeypatch.setattr(listing, "SETTLED_NS", -(10**12))
    assert {run.status for run in runs.list()} == {"finished"}
    return ids


def test_a_listing_reads_only_what_has_changed(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = at_rest(runs, monkeypatch)
    read: list[str] = []
    before = RunStore._read

    def noted(self: RunStore, run_id: str, files: object = None) -> object:
        read.append(run_id)
        return before(self, run_id)

    monkeypatch.setattr(RunStore, "_read", noted)
    monkeypatch.setattr(listing, "COMPARED", 0)
    assert len(runs.list()) == 3
    assert read == []
    elsewhere = RunStore(runs.root / ".." / runs.root.name)  # another path to it: nothing of this is remembered
    elsewhere.rename(second, "renamed by another process")
    elsewhere.delete(third)
    fourth = elsewhere.create(TrainConfig(), "new")
    read.clear()
    names = {run.id: run.name for run in runs.list()}
    assert names == {first: "run 0", second: "renamed by another process", fourth: "new"}
    assert set(read) == {second, fourth}
    set_status(elsewhere, first, status="stopped", step=7)
    assert {run.id: run.step for run in runs.list()}[first] == 7
    (runs.root / listing.JOURNAL).unlink()
    set_status(elsewhere, second, step=8)
    assert {run.id: run.step for run in runs.list()}[second] == 8


def test_what_is_changed_by_hand_is_found_in_turn(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = at_rest(runs, monkeypatch)
    monkeypatch.setattr(listing, "COMPARED", 1)
    for run_id in ids:
        (runs.folder(run_id) / "status.json").write_text("{")
    assert [sum(run.status == "lost" for run in runs.list()) for _ in ids] == [1, 2, 3]


def test_a_large_journal_is_begun_anew(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = at_rest(runs, monkeypatch)
    monkeypatch.setattr(listing, "MOST_JOURNAL_BYTES", 10)
    for number in range(5):
        set_status(runs, first, step=number)
        assert {run.id: run.step for run in runs.list()}[first] == number
    assert not (runs.root / listing.JOURNAL).exists()


def new_process() -> None:
    """As in a process that has not listed anything yet."""
    listing.listing.cache_clear()


def test_a_new_process_takes_runs_at_rest_from_the_index(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "INDEX_AFTER", 1)
    first, second, third = at_rest(runs, monkeypatch)
    known = runs.list()
    assert (runs.root / listing.INDEX).exists()
    opened: list[Path] = []
    before = store._read_json

    def noted(path: Path) -> object:
        opened.append(path)
        return before(path)

    monkeypatch.setattr(store, "_read_json", noted)
    new_process()
    assert runs.list() == known
    assert opened == []
    # What has changed since, by whomever, is read.
    (runs.folder(first) / "status.json").write_text('{"status": "stopped", "step": 7}')
    set_status(runs, second, status="queued", ticket=1)
    runs.delete(third)
    fourth = runs.create(TrainConfig(), "new")
    new_process()
    found = {run.id: (run.status, run.step, run.queue_position) for run in runs.list()}
    assert found == {first: ("stopped", 7, None), second: ("queued", 0, 1), fourth: ("stopped", 0, None)}
    lines = (runs.root / listing.INDEX).read_text().splitlines()
    assert {json.loads(line)[0] for line in lines} == {first, fourth}, "not of a run that is queued"


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"",
        lambda line: line[:-9],
        lambda line: b"\xff\xfe" + line,
        lambda line: b"null\n5\n{}\n[]\n" + b"[" * 100_000 + b"\n",
        lambda line: json.dumps(["../runs", *json.loads(line)[1:]]).encode(),
        lambda line: json.dumps([[1], *json.loads(line)[1:]]).encode(),
        lambda line: json.dumps([*json.loads(line)[:2], [1, 2, True, True]]).encode(),
        lambda line: json.dumps([*json.loads(line)[:2], [{}]]).encode(),
        lambda line: json.dumps([json.loads(line)[0], "x", json.loads(line)[2]]).encode(),
        lambda line: json.dumps([json.loads(line)[0], [0] * 6, json.loads(line)[2]]).encode(),
    ],
)
def test_a_damaged_index_is_left_out_and_made_again(
    runs: RunStore, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(listing, "INDEX_AFTER", 1)
    at_rest(runs, monkeypatch)
    known, path = runs.list(), runs.root / listing.INDEX
    good = path.read_bytes()
    line, rest = good.split(b"\n", 1)
    path.write_bytes(damage(line) + b"\n" + rest)
    new_process()
    assert runs.list() == known
    assert sorted(path.read_bytes().splitlines()) == sorted(good.splitlines())


def test_an_index_that_cannot_be_read_or_written_is_no_stop(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "INDEX_AFTER", 1)
    at_rest(runs, monkeypatch)
    known = runs.list()
    (runs.root / listing.INDEX).unlink()
    (runs.root / listing.INDEX).mkdir()
    new_process()
    assert runs.list() == known


def test_a_status_of_an_older_version_tells_its_parts(runs: RunStore) -> None:
    run_id = runs.create(StudyConfig(), kind=STUDY.name)
    set_status(runs, run_id, members_done=5)
    run = runs.get(run_id)
    assert (run.parts_done, run.part_name) == (5, "runs")
    set_status(runs, run_id, parts_done=6)
    assert runs.get(run_id).parts_done == 6


def test_a_finished_run_stays_finished_where_a_setting_is_gone(runs: RunStore, run_id: str) -> None:
    edit_config(runs, run_id, average="lookahead")
    set_status(runs, run_id, status="finished", message="Done.")
    run = runs.get(run_id)
    assert (run.status, run.message, run.resumable) == ("finished", "Done.", False)
    set_status(runs, run_id, status="stopped")
    assert runs.get(run_id).status == "failed"


@pytest.mark.parametrize(("parts", "words"), [(0, "start it again"), (2, "so far is kept")])
def test_a_study_that_was_lost_says_whether_anything_is_kept(runs: RunStore, parts: int, words: str) -> None:
    run_id = runs.create(StudyConfig(), kind=STUDY.name)
    runs.write_status(run_id, status="running", started=1.0, parts_done=parts)
    run = runs.get(run_id)
    assert run.status == "lost"
    assert words in run.message
