"""Recipes with figures that were made up and small real checkpoints, for the page that shows them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.checkpoints.store import MEMBERS, Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.compression.kind import COMPRESS
from core.compression.methods.child import child_checkpoint
from core.compression.recipe import ORIGINAL, CompressConfig
from core.compression.results import CompressionResult, Measurement
from core.compression.steps import FineTune, Float16, PruneWeights, Step
from core.compression.store import COMPRESSIONS, variant_folder, write_measurement
from core.jobs import RunStore
from core.models import clone_model
from tests.unit.compression import synthetic_results as made_up

STEPS: tuple[Step, ...] = (PruneWeights(amount=0.5), FineTune(epochs=2), Float16())
MADE = {"hardware": "two cores", "date": "2026-01-01"}


def config_of(checkpoint: str = "tiny", steps: tuple[Step, ...] = STEPS, **settings: Any) -> CompressConfig:
    """A recipe for the checkpoint that tests ship, a Simple CNN."""
    return CompressConfig(
        checkpoint=checkpoint,
        steps=tuple(step.to_dict() for step in steps),
        **{"model": "simple_cnn", "dataset": "cifar10"} | settings,
    )


def result_of(config: CompressConfig | None = None, name: str = "Made up") -> CompressionResult:
    """A recipe that is over: each variant half a point worse than the one before it, and as many times smaller."""
    config = config or config_of()
    first = made_up.original(model=config.model, parameters=42_442)
    measured: list[Measurement] = [first]
    for place, variant in enumerate(config.variants(), 1):
        measured.append(
            made_up.variant(
                variant,
                -0.5 * place,
                model=config.model,
                stored_bytes=first.stored_bytes // 2**place,
                size_bytes=(first.size_bytes or 0) // 2**place,
                latency_ms=made_up.latencies(5.0, 160.0, 9.6, 125.0, of=(10.0, 320.0, 4.8, 250.0)),
                layers=made_up.layers(1.0, 0.5),
                notes=("Slower than the original in ONNX Runtime at batch 1: 0.50 times as fast.",),
            )
        )
    return CompressionResult(
        config=config, name=name, original="Tiny", classes=made_up.CLASSES, made=MADE, measured=tuple(measured)
    )


def ship(folder: Path, result: CompressionResult) -> None:
    """Write a result as one that ships, without answers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result.task}.json").write_text(json.dumps(result.to_dict()))


def answers(variant: int, count: int = 30, classes: int = 10) -> np.ndarray:
    """What a variant says of the test images: the original (0) names the classes in turn, others differ at the start."""
    found = np.arange(count) % classes
    found[: 3 * variant] = (found[: 3 * variant] + 1) % classes
    return found.astype(np.int16)


def store_recipe(result: CompressionResult, *, over: int | None = None, images: int = 30, **status: object) -> str:
    """Write a recipe as its worker leaves it, with a checkpoint a variant; returns its id. over: variants that are done."""
    store = RunStore()
    run_id = store.create(result.config, result.name, kind=COMPRESS.name)
    folder = store.folder(run_id)
    COMPRESSIONS.write_facts(
        folder,
        original=result.original,
        classes=list(result.classes),
        made=result.made,
        soft_labels=list(result.soft_labels),
    )
    parent = load_checkpoint(find_checkpoint(result.config.checkpoint))
    done = result.variants[:over]
    if result.first is not None:
        write_measurement(folder, result.first, answers(0, images) if result.task == "images" else None)
    for place, item in enumerate(done, 1):
        parent = _make(folder, parent, result.config.parsed()[item.number - 1], item, place)
        write_measurement(folder, item, answers(place, images) if result.task == "images" else None)
    if over is None:
        save_checkpoint(folder / "best", parent.model, dataclasses.replace(parent.card, title=result.name))
    values = {"status": "finished", "parts_done": len(done), "step": 1000 * len(done) // len(result.variants)}
    values |= {"message": "", "total_steps": 1000, "final": over is None}
    (folder / "status.json").write_text(json.dumps(values | status))
    return run_id


def write_curve(run_id: str, variant: str, epochs: int = 2) -> None:
    """What the training of a variant has written while it is under way."""
    folder = RunStore().folder(run_id) / MEMBERS / variant
    folder.mkdir(parents=True, exist_ok=True)
    values = {"kind": "member", "name": variant, "created": 0.0, "config": {"model": "simple_cnn"}}
    (folder / "config.json").write_text(json.dumps(values))
    rows = []
    for epoch in range(1, epochs + 1):
        shared = {"step": 10 * epoch, "epoch": float(epoch), "seconds": float(epoch)}
        rows.append({"kind": "train", "train_accuracy": 0.5, "train_loss_nats": 1.0} | shared)
        rows.append({"kind": "eval", "val_accuracy": 0.4, "val_loss_nats": 1.2} | shared)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _make(folder: Path, parent: Checkpoint, step: Step, item: Measurement, place: int) -> Checkpoint:
    """The parent with half of its weights gone, or what else tells it apart."""
    model = clone_model(parent.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 - 0.1 * place)
    made = child_checkpoint(parent, model, step, storage="float16" if isinstance(step, Float16) else "float32")
    card = save_checkpoint(
        variant_folder(folder, item.id) / "best", model, dataclasses.replace(made.card, title=item.title)
    )
    assert item.id != ORIGINAL
    return dataclasses.replace(made, card=card)
