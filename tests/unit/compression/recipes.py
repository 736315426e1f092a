"""Recipes that are run in tests, in this process and measured quickly, and what they left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.compression import job
from core.compression.kind import COMPRESS
from core.compression.measuring import measure
from core.compression.recipe import CompressConfig
from core.compression.steps import (
    Step,
)
from core.data.dataset import Dataset, ImageDataset
from core.jobs import Run, RunStore
from core.jobs.store import STOP
from core.jobs.worker import do_run
from core.training.config import TrainConfig
from core.training.job import Recorder
from core.training.session import TrainSession
from core.training.trainer import train
from tests.unit.compression.quick_measuring import quicken

CNN = {"widths": [6, 8], "batch_norm": True}


def trained(config: TrainConfig, data: Dataset, folder: Path) -> Path:
    session = TrainSession.start(config, data, "cpu")
    list(train(session))
    save_checkpoint(folder, session.eval_model(), session.card("Shapes"))
    return folder


def small_network(dataset: ImageDataset, folder: Path) -> Path:
    """The folder of a small network that knows something of the images."""
    name = dataset.card.name
    config = TrainConfig(model="simple_cnn", model_config=CNN, dataset=name, epochs=4, batch_size=16, lr=5e-3)
    return trained(config, dataset, folder)


def quick_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store whose runs are done in this process, with quick measurements, and leave its signals alone."""
    quicken(monkeypatch)
    monkeypatch.setattr(measure, "SUBJECTS", ("torch_b1", "onnx_b1"))
    monkeypatch.setattr("core.jobs.worker.signal.signal", lambda number, handler: None)
    return RunStore(folder)


def create(store: RunStore, original: Path | str, *steps: Step, **settings: Any) -> str:
    card = find_checkpoint(str(original), store.root).card
    config = CompressConfig(
        checkpoint=str(original),
        steps=tuple(step.to_dict() for step in steps),
        model=card.model,
        dataset=card.dataset.name,
        device="cpu",
        **settings,
    )
    return store.create(config, "recipe", kind=COMPRESS.name)


def done(store: RunStore, original: Path | str, *steps: Step, **settings: Any) -> Run:
    """A recipe that was done without a break."""
    run_id = create(store, original, *steps, **settings)
    assert do_run(store, run_id) == "finished", store.get(run_id).message
    return store.get(run_id)


def made(store: RunStore, run_id: str, variant: str) -> Checkpoint:
    return load_checkpoint(find_checkpoint(f"{run_id}/{variant}" if variant else run_id, store.root))


def digests(store: RunStore, run_id: str) -> dict[str, str]:
    variants = store.config(run_id).variants()
    return {variant.id: made(store, run_id, variant.id).card.weights_sha256 for variant in variants}


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, variant: str, do: Callable[[Recorder], None]) -> None:
    """Once, when a variant's training has done so many steps."""
    record, over = Recorder.record, []

    def recorded(recorder: Recorder, result: Any) -> None:
        record(recorder, result)
        if not over and recorder.job.folder.name == variant and result.step == step:
            over.append(step)
            do(recorder)

    monkeypatch.setattr(Recorder, "record", recorded)


def stop(recorder: Recorder) -> None:
    """As the engine asks for it."""
    (recorder.job.folder.parents[1] / STOP).touch()


def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The variants whose training is begun or gone on with."""
    seen: list[str] = []
    really = job.train_to_end

    def training(session: Any, job: Any) -> Any:
        seen.append(job.run.id)
        return really(session, job)

    monkeypatch.setattr(job, "train_to_end", training)
    return seen
