"""Event files hold the run's rows: read back by TensorBoard's own reader."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.app import main
from core.common.errors import LabError
from core.jobs import RunStore
from core.jobs import tensorboard as events
from core.jobs.metrics import METRICS, append_row
from core.training.config import TrainConfig

pytestmark = pytest.mark.slow

ROWS = [
    {
        "kind": "train",
        "step": 1,
        "epoch": 0.5,
        "seconds": 2.0,
        "train_loss_nats": 2.5,
        "train_accuracy": None,
        "lr": 0.1,
    },
    {
        "kind": "train",
        "step": 2,
        "epoch": 1.0,
        "seconds": 4.0,
        "train_loss_nats": 1.5,
        "train_accuracy": 0.4,
        "lr": 0.2,
    },
    {
        "kind": "eval",
        "step": 2,
        "epoch": 1.0,
        "seconds": 4.5,
        "train_loss_nats": 2.0,
        "val_loss_nats": 1.75,
        "val_accuracy": 0.3,
    },
]


@pytest.fixture
def run_id(lab_home: Path) -> str:
    store = RunStore()
    found = store.create(TrainConfig(), "Cats", kind="train")
    for row in ROWS:
        append_row(store.folder(found) / METRICS, row)
    return found


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, pytest.approx(event.value)) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_every_figure_is_there_once(run_id: str, tmp_path: Path) -> None:
    expected = {
        "loss_nats/train": [(1, 2.5), (2, 1.5)],
        "accuracy/train": [(2, 0.4)],
        "loss_nats/validation": [(2, 1.75)],
        "accuracy/validation": [(2, 0.3)],
        "run/lr": [(1, 0.1), (2, 0.2)],
        "run/epoch": [(1, 0.5), (2, 1.0)],
    }
    for _ in range(2):  # written again, for a run that goes on: nothing is there twice
        assert events.write_events(RunStore(), run_id, tmp_path / "board") == sum(map(len, expected.values()))
        assert read(tmp_path / "board" / run_id) == expected
    texts = EventAccumulator(str(tmp_path / "board" / run_id)).Reload().Tags()["tensors"]
    assert "config/text_summary" in texts


def test_times_are_those_of_the_training(run_id: str, tmp_path: Path) -> None:
    events.write_events(RunStore(), run_id, tmp_path)
    found = EventAccumulator(str(tmp_path / run_id)).Reload().Scalars("loss_nats/train")
    assert found[1].wall_time - found[0].wall_time == pytest.approx(2.0)


def test_the_zip_holds_one_folder(run_id: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(events.zipped_events(RunStore(), run_id))) as archive:
        archive.extractall(tmp_path / "zip")
    assert [path.name for path in (tmp_path / "zip").iterdir()] == [run_id]
    assert read(tmp_path / "zip" / run_id)["loss_nats/train"] == [(1, 2.5), (2, 1.5)]


def test_the_command(run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", run_id, "--tensorboard", str(tmp_path / "board")]) in (0, None)
    assert "9 figures" in capsys.readouterr().out
    assert read(tmp_path / "board" / run_id)["accuracy/validation"] == [(2, 0.3)]


def test_what_is_missing_is_said(run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match="no metrics rows yet"):
        events.write_events(RunStore(), RunStore().create(TrainConfig(), "New", kind="train"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="file"):
        events.write_events(RunStore(), run_id, tmp_path / "file")
    monkeypatch.setattr(events.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LabError, match="pip install tensorboard"):
        events.write_events(RunStore(), run_id, tmp_path)
