"""Recipes that are interrupted: stopped, failed, damaged, and gone on with to the same end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoints.store import Checkpoint, load_checkpoint, save_checkpoint
from core.compression import job
from core.compression.recipe import ORIGINAL
from core.compression.steps import (
    FineTune,
    PruneGradually,
    PruneWeights,
)
from core.compression.store import read_compression, variant_folder
from core.data import load_dataset
from core.data.dataset import ImageDataset
from core.jobs import RunStore
from core.jobs.store import STATE
from core.jobs.worker import do_run
from tests.unit.compression.recipes import (
    at_step,
    create,
    digests,
    done,
    made,
    plain,
    quick_store,
    small_network,
    spied,
    stop,
)

pytestmark = pytest.mark.slow

TRAINED = (FineTune(epochs=1.0), PruneGradually(amount=0.6, epochs=4.0))


@pytest.fixture(scope="module")
def dataset(tiny_dataset_folder: Path) -> ImageDataset:
    found = load_dataset(f"folder:{tiny_dataset_folder}")
    assert isinstance(found, ImageDataset)
    return found


@pytest.fixture(scope="module")
def shapes(dataset: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_network(dataset, tmp_path_factory.mktemp("shapes-network"))


@pytest.fixture
def store(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    return quick_store(lab_home / "runs", monkeypatch)


def test_a_recipe_that_was_stopped_goes_on_to_the_same_end(
    store: RunStore, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = done(store, shapes, *TRAINED)
    rough = create(store, shapes, *TRAINED)
    at_step(monkeypatch, 1, "1-fine_tune", stop)
    assert do_run(store, rough) == "stopped"
    run = store.get(rough)
    assert "after 0 of 2 variants: resume it" in run.message
    assert run.resumable
    assert run.threads == torch.get_num_threads(), "a resume takes as many"
    assert (store.folder(rough) / "members" / "1-fine_tune" / STATE).is_file()
    at_step(monkeypatch, 3, "2-prune_gradually", stop)
    trainings = spied(monkeypatch)
    torch.manual_seed(99)
    assert do_run(store, rough) == "stopped"
    assert "after 1 of 2 variants" in store.get(rough).message
    measured = (store.folder(rough) / "members" / "1-fine_tune" / "measurement.json").stat().st_mtime_ns
    assert do_run(store, rough) == "finished"
    assert trainings == ["1-fine_tune", "2-prune_gradually", "2-prune_gradually"]
    assert (store.folder(rough) / "members" / "1-fine_tune" / "measurement.json").stat().st_mtime_ns == measured
    assert digests(store, rough) == digests(store, calm.id)
    for name in ("1-fine_tune", "2-prune_gradually"):
        rows = [plain(RunStore(store.folder(run_id) / "members").metrics(name)) for run_id in (rough, calm.id)]
        assert rows[0] == rows[1]
    assert store.get(rough).parts_done == 2


def test_what_was_trained_is_only_measured_and_told_after_a_failure(
    store: RunStore, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = create(store, shapes, FineTune(epochs=1.0))
    trainings = spied(monkeypatch)
    really: Any = job.Bench.measure

    def full(bench: Any, checkpoint: Checkpoint, stored_bytes: int, **named: Any) -> Any:
        if named["id"] != ORIGINAL:
            raise OSError(28, "No space left on device")
        return really(bench, checkpoint, stored_bytes, **named)

    with monkeypatch.context() as patch:
        patch.setattr(job.Bench, "measure", full)
        assert do_run(store, run_id) == "failed"
    assert store.get(run_id).message.startswith("The disk is full")

    def gone(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # after the measurement, and before it is on the card
        patch.setattr(job, "_with_figures", gone)
        assert do_run(store, run_id) == "failed"
    assert "test_accuracy" not in made(store, run_id, "1-fine_tune").card.metrics
    assert do_run(store, run_id) == "finished"
    assert trainings == ["1-fine_tune"]
    assert made(store, run_id, "1-fine_tune").card.metrics["test_images"] == 60


def test_a_damaged_variant_is_made_anew(store: RunStore, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = create(store, shapes, PruneWeights(amount=0.5), FineTune(epochs=1.0), PruneGradually(epochs=4.0))
    at_step(monkeypatch, 1, "3-prune_gradually", stop)
    assert do_run(store, run_id) == "stopped"
    before = {name: made(store, run_id, name).card.weights_sha256 for name in ("1-prune_weights", "2-fine_tune")}
    for name in before:
        (path,) = (variant_folder(store.folder(run_id), name) / "best").glob("*.safetensors")
        path.write_bytes(b"damaged")
    assert do_run(store, run_id) == "finished"
    assert {name: made(store, run_id, name).card.weights_sha256 for name in before} == before
    assert len(read_compression(store, run_id).measured) == 4
    assert all("test_accuracy" in made(store, run_id, name).card.metrics for name in before)


def test_another_original_under_the_same_name_is_refused(
    store: RunStore, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_checkpoint(str(shapes))
    save_checkpoint(tmp_path / "mine", first.model, first.card)
    run_id = create(store, tmp_path / "mine", *TRAINED)
    at_step(monkeypatch, 1, "1-fine_tune", stop)
    assert do_run(store, run_id) == "stopped"
    with torch.no_grad():
        next(first.model.parameters()).add_(0.1)
    save_checkpoint(tmp_path / "mine", first.model, first.card)
    assert do_run(store, run_id) == "failed"
    assert "has changed since this recipe began: start the recipe again." in store.get(run_id).message
