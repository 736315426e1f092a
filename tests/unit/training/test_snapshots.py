"""What a run keeps of its way: which evaluations, under which names, the same after any interruption, and at no cost to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from core.checkpoints.store import find_checkpoint, list_checkpoints, load_checkpoint, read_card
from core.common.errors import LabError
from core.data import load_dataset
from core.jobs import RunStore
from core.jobs.store import STATE
from core.models import build_model
from core.training.config import TrainConfig
from core.training.job import Recorder
from core.training.results import EvalResult, StepResult
from core.training.session import TrainSession
from core.training.snapshots import kept_steps, names_of
from core.training.trainer import evaluate, train
from tests.tiny_text import write_text
from tests.unit.failures import refusal
from tests.unit.in_process import finish
from tests.unit.training.conftest import ask_to_stop, at_step, finished, same_rows


@pytest.fixture(scope="module")
def config(tiny_dataset_folder: Path) -> TrainConfig:
    """What snapshots could disturb: dropout, batch norm, averaged weights, augmentation. Evaluations at odd times."""
    return TrainConfig(
        dataset=f"folder:{tiny_dataset_folder}",
        model_config={"widths": (4, 4), "dropout": 0.2, "batch_norm": True},
        epochs=4,
        batch_size=40,
        lr=3e-3,
        flip="random",
        average="ema",
        average_decay=0.8,
        eval_every=0.5,
        device="cpu",
    )


@pytest.fixture(scope="module")
def calm(store: RunStore, config: TrainConfig) -> str:
    """A run with three snapshots that nobody disturbed."""
    return finished(store, config.replace(snapshots=3), "Calm")


def digests(store: RunStore, run_id: str) -> dict[str, str]:
    """The weights of all of a run's checkpoints, by their place in its folder."""
    folder = store.folder(run_id)
    cards = sorted(folder.glob("**/card.json"))
    return {str(card.parent.relative_to(folder)): read_card(card.parent).weights_sha256 for card in cards}


def names(store: RunStore, run_id: str) -> dict[str, float]:
    return names_of(run_id, store.folder(run_id))


def lose_power(recorder: Recorder) -> None:
    raise RuntimeError("the power went")


def test_steps_are_those_of_evaluations_and_spread_evenly(config: TrainConfig) -> None:
    for total in (1, 2, 7, 30, 31, 100):
        for eval_every in (1.0, 1.2, 1.5, 2.0, 3.7, 10.0, 250.0):
            session = _Steps(total, eval_every)
            before_end = [step for step in range(1, total) if session.due(step)]
            for count in (0, 1, 2, 6, 50):
                kept = sorted(kept_steps(count, total, eval_every))
                assert len(kept) == min(count, len(before_end))
                places = [before_end.index(step) + 1 for step in kept]  # fails for a step without an evaluation
                gaps = [b - a for a, b in zip([0, *places], [*places, len(before_end) + 1], strict=True)]
                assert max(gaps) - min(gaps) <= 1
    assert sorted(kept_steps(3, 40, 1.0)) == [10, 20, 30]


class _Steps:
    """Just enough of a session to ask it when an evaluation is due."""

    def __init__(self, total_steps: int, eval_every: float) -> None:
        self.total_steps, self.eval_every = total_steps, eval_every
        self.counters = type("Counters", (), {"step": 0, "evaluated_step": 0})()

    def due(self, step: int) -> bool:
        self.counters.step = step
        return TrainSession.evaluation_due(self)  # type: ignore[arg-type]


def test_a_run_keeps_the_untrained_network_and_evaluations_on_its_way(
    store: RunStore, calm: str, config: TrainConfig
) -> None:
    evaluations = [row for row in store.metrics(calm) if row["kind"] == "eval"]
    assert [row["step"] for row in evaluations] == [2, 4, 6, 8, 10, 12, 14, 16]
    kept = {f"{calm}/epoch-{name}": epoch for name, epoch in (("0", 0.0), ("1", 1.0), ("2", 2.0), ("3", 3.0))}
    assert list(names(store, calm).items()) == [*kept.items(), (f"{calm}/last", 4.0)]
    for name, epoch in kept.items():
        reference = find_checkpoint(name, store.root)
        checkpoint = load_checkpoint(reference)
        assert (reference.name, reference.origin) == (name, "run")
        assert (checkpoint.card.epoch, checkpoint.card.step) == (epoch, 4 * epoch)
        assert checkpoint.card.title == f"Calm (epoch {epoch:g})"
        assert checkpoint.card.calibration.images == 0
        assert checkpoint.card.calibration.temperature == 1.0
        row = next((row for row in evaluations if row["epoch"] == epoch), {})
        assert checkpoint.card.metrics.get("val_accuracy") == row.get("val_accuracy")
    torch.manual_seed(config.seed)
    fresh = build_model("simple_cnn", dict(config.model_settings) | {"classes": 3}).state_dict()
    untrained = load_checkpoint(find_checkpoint(f"{calm}/epoch-0", store.root)).model.state_dict()
    assert all(torch.equal(untrained[key], value) for key, value in fresh.items())


def test_a_snapshot_is_what_its_evaluation_measured(store: RunStore, calm: str, config: TrainConfig) -> None:
    """An independent training, by the trainer alone, has these averaged weights at that step."""
    session = TrainSession.start(config, load_dataset(config.dataset), "cpu")
    for result in train(session):
        if isinstance(result, EvalResult) and result.step == 8:
            break
    kept = load_checkpoint(find_checkpoint(f"{calm}/epoch-2", store.root))
    weights = session.eval_model().state_dict()
    assert all(torch.equal(weights[key], value) for key, value in kept.model.state_dict().items())
    assert kept.card.metrics["val_loss_nats"] == evaluate(session).val_loss_nats


def test_training_is_the_same_with_and_without_snapshots(store: RunStore, calm: str, config: TrainConfig) -> None:
    bare = finished(store, config, "Bare")
    assert names(store, bare) == {}
    assert sorted(digests(store, bare)) == ["best", "last"]
    assert {name: digests(store, calm)[name] for name in ("best", "last")} == digests(store, bare)
    assert same_rows(store, calm, bare)
    states = [torch.load(store.folder(run_id) / STATE, weights_only=True)["model"] for run_id in (calm, bare)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(("step", "kind"), [(3, StepResult), (8, StepResult), (8, EvalResult)])
def test_a_stopped_run_goes_on_to_the_same_snapshots(
    store: RunStore, calm: str, config: TrainConfig, step: int, kind: type[StepResult | EvalResult]
) -> None:
    run_id = store.create(config.replace(snapshots=3), "Rough")
    with at_step(step, ask_to_stop, kind):
        assert finish(store, run_id).status == "stopped"
    torch.manual_seed(77)  # whatever the new process drew before
    assert finish(store, run_id).status == "finished"
    assert digests(store, run_id) == digests(store, calm)


def test_a_run_that_goes_back_drops_what_came_after(
    store: RunStore, calm: str, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at step 13 with no state saved since step 5: what was kept of epochs 2 and 3 is not of the run to come."""
    run_id = store.create(config.replace(snapshots=3), "Killed")
    folder, seen = store.folder(run_id), {}

    def end(recorder: Recorder) -> None:
        seen["before"] = list(names(store, run_id))
        lose_power(recorder)

    with monkeypatch.context() as patch, at_step(5, Recorder.save), at_step(13, end):
        patch.setattr("core.training.job.SAVE_SHARE", 10**9)
        assert finish(store, run_id).status == "failed"
    assert seen["before"] == [*(f"{run_id}/epoch-{epoch}" for epoch in range(4))]
    (folder / "epochs" / "1" / ".card.json.abcdefgh").write_text("torn")

    def look(recorder: Recorder) -> None:
        seen["after"] = sorted(item.name for item in (folder / "epochs").iterdir())

    with at_step(6, look):
        assert finish(store, run_id).status == "finished"
    assert seen["after"] == ["0", "1"]
    assert digests(store, run_id) == digests(store, calm)
    assert not list(folder.glob("epochs/*/.*"))


def test_a_run_that_starts_anew_begins_with_none(store: RunStore, calm: str, config: TrainConfig) -> None:
    run_id = store.create(config.replace(snapshots=3), "Lost")
    folder, seen = store.folder(run_id), []
    with at_step(9, lose_power):
        assert finish(store, run_id).status == "failed"
    (folder / STATE).unlink()
    with at_step(1, lambda recorder: seen.extend((folder / "epochs").iterdir())):
        assert finish(store, run_id).status == "finished"
    assert seen == [folder / "epochs" / "0"]
    assert digests(store, run_id) == digests(store, calm)


def test_fractions_of_an_epoch_and_texts(store: RunStore, tmp_path: Path) -> None:
    config = TrainConfig(
        model="char_gru",
        model_config={"width": 8, "layers": 1, "embedding": 4},
        dataset=f"text:{write_text(tmp_path)}",
        epochs=0.2,
        batch_size=8,
        window=8,
        eval_every=0.05,
        snapshots=2,
        device="cpu",
    )
    run_id = finished(store, config, "Poet")
    found = names(store, run_id)
    assert list(found.values()) == sorted(found.values())
    assert found.popitem()[0] == f"{run_id}/last"
    assert len(found) == 3
    assert [name.partition("/")[2] for name in found] == [
        f"epoch-{str(epoch or 0).replace('.', '_')}" for epoch in found.values()
    ]
    assert any("_" in name.partition("/epoch-")[2] for name in found)
    for name, epoch in found.items():
        assert load_checkpoint(find_checkpoint(name, store.root)).card.epoch == epoch


def test_snapshots_are_found_by_name_only_and_what_is_none_is_one_sentence(store: RunStore, calm: str) -> None:
    assert [ref.name for ref in list_checkpoints(store.root) if ref.name.startswith(calm)] == [calm]
    for wrong in ("epoch-9", "epoch-", "epoch-1.5", "epoch-1_", "epoch--1", "epoch-../1", "epoch-1/..", "epochs"):
        with refusal("There is no checkpoint named"):
            find_checkpoint(f"{calm}/{wrong}", store.root)


def test_names_and_titles_go_past_what_is_damaged(store: RunStore, config: TrainConfig) -> None:
    run_id = finished(store, config.replace(snapshots=3), "Before")
    folder = store.folder(run_id) / "epochs"
    (folder / "1" / "card.json").write_text("{")
    (folder / "2" / "card.json").unlink()
    (folder / "note.txt").write_text("not a checkpoint")
    (folder / "3").rename(folder / "03")
    assert list(names(store, run_id)) == [f"{run_id}/epoch-0", f"{run_id}/last"]
    with pytest.raises(LabError, match="damaged"):
        find_checkpoint(f"{run_id}/epoch-1", store.root)
    store.rename(run_id, "After")
    assert find_checkpoint(f"{run_id}/epoch-0", store.root).label == "After (epoch 0)"
    assert find_checkpoint(f"{run_id}/last", store.root).label == "After (last)"
    store.delete(run_id)
    assert not list(store.root.glob(f"*{run_id}*"))
    assert names_of(run_id, store.root / run_id) == {}


def test_old_runs_have_none(store: RunStore, config: TrainConfig) -> None:
    run_id = store.create(config)
    path = store.folder(run_id) / "config.json"
    values = json.loads(path.read_text())
    del values["config"]["snapshots"]
    path.write_text(json.dumps(values))
    assert store.get(run_id).config.snapshots == 0
