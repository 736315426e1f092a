"""Many users at one server: limits, turns, and a server that only answers. No worker is started here."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.common import locks
from core.data import image_uploads, texts
from core.data.generated import GeneratedCard, write_generated
from core.data.image_uploads import UploadedFile
from core.data.storage import LEFTOVER_S, folder_bytes
from core.jobs import LocalEngine, RunStore
from core.jobs.instant import record_finished
from core.jobs.quota import UNFINISHED, Quota, fair_order, stored_bytes
from core.jobs.run import Run
from core.jobs.store import WORKER_LOCK
from core.training.config import TrainConfig
from tests.tiny_text import play
from tests.unit.failures import refusal


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def engine(runs: RunStore) -> Iterator[LocalEngine]:
    """Of a machine whose one place is taken by a run of Ada's: what is submitted waits."""
    busy = runs.create(TrainConfig())
    handle = locks.take(runs.folder(busy) / WORKER_LOCK)
    assert handle is not None
    with runs.locked():
        runs.write_status(busy, status="running", user="Ada")
    yield LocalEngine(runs, slots=1)
    os.close(handle)


def run(user: str, name: str) -> Run:
    return Run(id=name, name=name, kind="train", config=None, status="queued", user=user)


@pytest.mark.parametrize(
    ("queued", "working", "expected"),
    [
        ("a1 a2 a3", "", "a1 a2 a3"),
        ("a1 a2 a3 b1", "", "a1 b1 a2 a3"),
        ("a1 a2 b1 b2 c1", "a0", "b1 c1 a1 b2 a2"),
        ("a1 b1", "b0", "a1 b1"),
        ("b1 a1", "b0", "a1 b1"),
        ("a1 b1", "a0 b0", "a1 b1"),
        ("", "a0", ""),
    ],
)
def test_turns_go_round_between_users(queued: str, working: str, expected: str) -> None:
    found = fair_order(
        [run(name[0], name) for name in queued.split()], [run(name[0], name) for name in working.split()]
    )
    assert [item.id for item in found] == expected.split()


def test_a_run_of_another_user_passes_the_many_of_one(runs: RunStore, engine: LocalEngine) -> None:
    first, second, other = (runs.create(TrainConfig()) for _ in range(3))
    for run_id, user in ((first, "Ada"), (second, "Ada"), (other, "Bob")):
        engine.submit(run_id, user=user)
    assert [runs.get(run_id).queue_position for run_id in (other, first, second)] == [1, 2, 3]
    assert runs.get(other).user == "Bob"


def test_a_user_has_so_many_runs_and_others_are_not_held_up(
    runs: RunStore, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_QUOTA_RUNS", "2")
    ids = [runs.create(TrainConfig()) for _ in range(4)]
    engine.submit(ids[0], user="Ada")
    with refusal("2 runs under way"):
        engine.submit(ids[1], user="Ada")
    assert runs.get(ids[1]).status == "stopped"
    assert engine.submit(ids[2], user="Bob").status == "queued"
    assert engine.submit(ids[3]).status == "queued", "a terminal has no limit"
    engine.stop(ids[0])
    assert engine.submit(ids[1], user="Ada").status == "queued"


def test_a_user_has_so_much_disk(runs: RunStore, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_QUOTA_GB", "0.001")
    first, second = runs.create(TrainConfig()), runs.create(TrainConfig())
    engine.submit(first, user="Bob")
    (runs.folder(first) / "weights").write_bytes(bytes(1_000_000))
    with refusal("delete some"):
        engine.submit(second, user="Bob")
    assert engine.submit(second, user="Ada").status == "queued"


def store_photo(user: str) -> Path:
    photo = b"\x89PNG\r\n\x1a\n" + bytes(50_000)
    return image_uploads.store_files([UploadedFile("a/1.png", lambda: io.BytesIO(photo))], "Pets", user=user).path


def test_all_that_a_user_keeps_is_counted_and_no_other_users(runs: RunStore, lab_home: Path) -> None:
    assert not any(stored_bytes(runs, "Ada").values())
    photos = store_photo("Ada")
    text = Path(texts.store_upload(play(2000).encode(), "play.txt", user="Ada").removeprefix("text:"))
    made = GeneratedCard(title="Set", base="cifar10", checkpoint="flow", trained_on=1, count=2, user="Ada")
    write_generated("set", np.zeros((2, 32, 32, 3), np.uint8), np.array([0, 1]), made)
    networks = {name: lab_home / "networks" / name for name in ("kept", ".given", "bobs")}
    for name, folder in networks.items():
        folder.mkdir(parents=True)
        (folder / "facts.json").write_text(json.dumps({"user": "Bob" if name == "bobs" else "Ada"}))
        (folder / "file").write_bytes(bytes(7000 if name == "kept" else 9000))
    edited = record_finished(TrainConfig(), "train", None, "", lambda *_: None, user="Ada")
    found = stored_bytes(RunStore(), "Ada")
    datasets = (photos, photos.with_suffix(".json"), text, text.with_suffix(".json"), lab_home / "generated" / "set")
    assert found == {
        "runs": folder_bytes(RunStore().folder(edited)),
        "datasets": sum(map(folder_bytes, datasets)),
        "networks": folder_bytes(networks["kept"]),
        UNFINISHED: folder_bytes(networks[".given"]),
    }
    assert list(found) == sorted(found, key=found.__getitem__, reverse=True)
    assert stored_bytes(RunStore(), "Bob")["networks"] == folder_bytes(networks["bobs"])
    assert not stored_bytes(RunStore(), "Bob")["datasets"]


def test_what_was_here_first_keeps_its_owner_and_older_things_have_none(runs: RunStore, lab_home: Path) -> None:
    for user in ("", "Ada"):
        store_photo(user)
        texts.store_upload(play(2000).encode(), "play.txt", user=user)
    assert not stored_bytes(runs, "Ada")["datasets"]
    path = store_photo("Ada")
    path.with_suffix(".json").write_text('{"title": "Pets"}')
    store_photo("Ada")
    assert not stored_bytes(runs, "Ada")["datasets"]


def test_an_upload_that_nobody_came_back_to_goes_after_a_day(runs: RunStore, lab_home: Path) -> None:
    given = lab_home / "networks" / ".given"
    given.mkdir(parents=True)
    (given / "facts.json").write_text('{"user": "Ada"}')
    assert stored_bytes(runs, "Ada")[UNFINISHED]
    os.utime(given, (0, time.time() - LEFTOVER_S - 60))
    assert not stored_bytes(runs, "Ada")[UNFINISHED]
    assert not given.exists()


def test_a_refusal_says_what_takes_how_much_and_where_it_goes(runs: RunStore, lab_home: Path) -> None:
    quota = Quota(disk_gb=0.03)
    quota.check_disk(runs, "Ada", 30_000_000)
    with refusal("upload takes 31 MB, .*30 MB: give less"):
        quota.check_disk(runs, "Ada", 30_000_001)
    run_id = runs.create(TrainConfig())
    runs.write_status(run_id, user="Ada")
    (runs.folder(run_id) / "weights").write_bytes(bytes(20_000_000))
    store_photo("Ada")
    quota.check_disk(runs, "Ada", 5_000_000)
    quota.check_disk(runs, "Bob", 30_000_000)
    with refusal("runs take 21 MB, your datasets take 1 MB, this upload takes 10 MB, .*30 MB: .* Runs or Datasets"):
        quota.check_disk(runs, "Ada", 10_000_000)
    quota.check_disk(runs, "", 10**12)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LAB_QUOTA_RUNS", "many"), ("LAB_QUOTA_RUNS", "1.5"), ("LAB_QUOTA_GB", "-1"), ("LAB_QUOTA_GB", "nan")],
)
def test_a_limit_that_is_no_number_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with refusal(name):
        Quota.from_environment()


def test_a_read_only_server_starts_keeps_and_removes_nothing(
    runs: RunStore, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = runs.create(TrainConfig())
    before = sorted(path.name for path in runs.root.iterdir())
    monkeypatch.setenv("LAB_READ_ONLY", "1")
    for act in (
        lambda: runs.create(TrainConfig()),
        lambda: runs.rename(run_id, "Mine"),
        lambda: runs.delete(run_id),
        lambda: engine.submit(run_id),
        lambda: engine.stop(run_id),
        lambda: texts.store_upload(play(2000).encode(), "play.txt"),
    ):
        with refusal("read-only"):
            act()
    assert sorted(path.name for path in runs.root.iterdir()) == before
    assert runs.get(run_id).status == "stopped"
    monkeypatch.setenv("LAB_READ_ONLY", "yes")
    with refusal("LAB_READ_ONLY"):
        runs.create(TrainConfig())


def test_what_a_read_only_server_starts_from_the_queue_may_write(
    runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = runs.create(TrainConfig())
    monkeypatch.setenv("LAB_READ_ONLY", "1")
    assert "LAB_READ_ONLY" not in LocalEngine(runs, slots=1)._environment(runs.get(run_id), None)


def test_a_run_on_two_gpus_takes_two_places(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_GPUS", "0,1")
    engine, started = LocalEngine(runs, slots=2), []

    def start(run: Run, working: list[Run]) -> bool:
        started.append(run.id)
        return True

    monkeypatch.setattr(engine, "_start", start)
    wide, narrow = (runs.create(TrainConfig(devices=count, batch_size=128)) for count in (2, 1))
    for run_id in (wide, narrow):
        runs.write_status(run_id, status="queued", ticket=1 if run_id == wide else 2)
    engine.tick()
    assert started == [wide]
    assert engine._free_gpu(runs.get(wide), []) is None
    assert engine._free_gpu(runs.get(narrow), []) == "0"
