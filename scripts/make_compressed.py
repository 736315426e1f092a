"""Make the compressed checkpoints that ship, and the results that the Compression page opens with:
`python -m scripts.make_compressed`.

Each recipe is a run like any other, in `LAB_HOME`: interrupted, the command goes on where it stopped; a finished recipe is
kept. `--measure` measures all of them anew, for figures of one hour on an idle machine. `--calibrate` needs no run: it sets
temperature and warning threshold on the cards of the image classifiers that ship, and leaves their weights alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.checkpoints.store import (
    CARD,
    PRETRAINED,
    Card,
    find_checkpoint,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from core.common.paths import write_atomic
from core.compression.kind import COMPRESS
from core.compression.recipe import ORIGINAL, PRESETS, CompressConfig, make
from core.compression.results import CompressionResult, merged
from core.compression.steps import FineTune, Int8, PruneChannels, Step
from core.compression.store import COMPRESSIONS, SHIPPED_ANSWERS, read_answers, read_compression, variant_folder
from core.jobs import LocalEngine


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """A preset, done to a checkpoint that ships."""

    checkpoint: str
    steps: tuple[Step, ...] = ()
    """Of a recipe that is no preset, because its learning rate is for this network."""
    ships: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    """Variants that ship: id -> name of the folder, and title."""


RECIPES: dict[str, Shipped] = {
    "int8": Shipped(checkpoint="fast_resnet"),
    "fastest": Shipped(
        checkpoint="fast_resnet",
        steps=(
            PruneChannels(amount=0.4),
            FineTune(epochs=8.0),
            FineTune(epochs=6.0, lr=0.085, alpha=0.5),
            Int8(),
        ),
        ships={"4-int8": ("fast_resnet_fastest", "Fast ResNet, pruned, int8")},
    ),
    "smallest": Shipped(
        checkpoint="fast_resnet", ships={"3-huffman": ("fast_resnet_smallest", "Fast ResNet, smallest file")}
    ),
    "student": Shipped(
        checkpoint="fast_resnet", ships={"1-distill-s0": ("simple_cnn_distilled", "Simple CNN, distilled")}
    ),
    "text_int8": Shipped(checkpoint="char_lstm"),
    "text_smallest": Shipped(
        checkpoint="char_lstm", ships={"3-huffman": ("char_lstm_smallest", "LSTM, Shakespeare, smallest file")}
    ),
}
"""By the name of the preset, core.compression.recipe.PRESETS."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.make_compressed", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--measure", action="store_true", help="measure what is made already anew")
    parser.add_argument("--calibrate", action="store_true", help="only calibrate what ships already")
    arguments = parser.parse_args()
    if arguments.calibrate:
        calibrate_shipped()
        return
    engine = LocalEngine()
    results = {name: _made(engine, name, recipe, arguments.measure) for name, recipe in RECIPES.items()}
    for name, recipe in RECIPES.items():
        for variant, (folder, title) in recipe.ships.items():
            _ship(engine.store.folder(_run_of(engine, name) or ""), variant, folder, title, name)
    for task, checkpoint, title in (
        ("images", "fast_resnet", "Fast ResNet, four recipes"),
        ("text", "char_lstm", "LSTM, Shakespeare, two recipes"),
    ):
        found = [results[name] for name, recipe in RECIPES.items() if recipe.checkpoint == checkpoint]
        values = merged(title, found).to_dict()
        write_atomic(COMPRESSIONS.shipped / f"{task}.json", json.dumps(values, separators=(",", ":")) + "\n")
    _ship_answers(engine, results)


def calibrate_shipped() -> None:
    """Calibrate each image classifier, measure that on images which it was not set on, and write both on its card."""
    from core.data import load_images
    from core.inference.evaluation import calibrate, evaluate, split_answers

    for recipe, item in RECIPES.items():
        for name, _ in item.ships.values():
            checkpoint = load_checkpoint(name)
            card = checkpoint.card
            if card.task != "images":
                continue
            dataset = load_images(card.dataset.name)
            card = dataclasses.replace(card, calibration=calibrate(card, dataset, partial(split_answers, checkpoint)))
            found = evaluate(dataclasses.replace(checkpoint, card=card), dataset.test)
            metrics = card.metrics | {"test_ece": found.ece, "test_flagged": found.flagged}
            card = dataclasses.replace(card, metrics=metrics, notes=_notes(card, recipe))
            write_atomic(PRETRAINED / name / CARD, card.to_json())


def _made(engine: LocalEngine, name: str, recipe: Shipped, again: bool) -> CompressionResult:
    """The recipe's result, from disk or made now."""
    run_id = _run_of(engine, name)
    if run_id is None:
        card = find_checkpoint(recipe.checkpoint).card
        config = make(recipe.checkpoint, card, _steps(name), name)
        run_id = engine.store.create(config, _name(name), kind=COMPRESS.name)
    folder = engine.store.folder(run_id)
    finished = engine.state(run_id).status == "finished"
    if again or not finished:
        if again:
            for measured in folder.glob(f"members/*/{COMPRESSIONS.part_file}"):
                measured.unlink()
        if finished:
            with engine.store.locked():
                engine.store.write_status(run_id, status="stopped", message="To be measured anew.", final=False)
        engine.submit(run_id)
        while engine.state(run_id).active:
            engine.tick()
            time.sleep(2)
        run = engine.state(run_id)
        if run.status != "finished":
            raise SystemExit(f"{name}: {run.message}")
    return read_compression(engine.store, run_id)


def _run_of(engine: LocalEngine, name: str) -> str | None:
    """The run of a recipe, if it was begun with these very steps."""
    steps = tuple(step.to_dict() for step in _steps(name))
    for run in engine.store.list():
        if isinstance(run.config, CompressConfig) and run.name == _name(name) and run.config.steps == steps:
            return run.id
    return None


def _steps(name: str) -> tuple[Step, ...]:
    return RECIPES[name].steps or PRESETS[name].steps


def _name(name: str) -> str:
    return f"Shipping {name}"


def _ship(folder: Path, variant: str, name: str, title: str, recipe: str) -> None:
    """Put a variant among the checkpoints that ship."""
    made = load_checkpoint(str(variant_folder(folder, variant) / "best"))
    parent = RECIPES[recipe].checkpoint
    metrics: dict[str, Any] = {key: value for key, value in made.card.metrics.items() if key != "run"}
    card = dataclasses.replace(made.card, title=title, parent=parent, metrics=metrics, notes=_notes(made.card, recipe))
    shutil.rmtree(PRETRAINED / name, ignore_errors=True)
    save_checkpoint(PRETRAINED / name, made.model, card, onnx=made.onnx)
    assert (PRETRAINED / name / CARD).is_file()
    assert read_card(PRETRAINED / name).parent == parent


def _notes(card: Card, recipe: str) -> str:
    made = f"Made from {RECIPES[recipe].checkpoint} by the command python -m scripts.make_compressed (recipe {recipe})"
    if card.task == "text":
        return f"{made}. Figures are of the validation part of the text."
    notes = f"{made}. Figures are of a single view of each test image."
    if not card.calibration.images:
        return notes
    notes += (
        f" Temperature and warning threshold are set on {card.calibration.images:,} {card.calibration.split} images"
    )
    if card.calibration.split == "validation":
        return f"{notes}."
    return (
        f"{notes}: the original trained on all others. Calibration error and false alarms are measured on the rest of the "
        "test images."
    )


def _ship_answers(engine: LocalEngine, results: dict[str, CompressionResult]) -> None:
    import numpy as np
    from safetensors.numpy import save

    answers = {}
    for name, result in results.items():
        if result.task != "images":
            continue
        folder = engine.store.folder(_run_of(engine, name) or "")
        for item in result.measured:
            found = read_answers(folder, item.id)
            if found is not None:
                answers[item.id if item.id == ORIGINAL else f"{name}-{item.id}"] = found.astype(np.int8)
    write_atomic(COMPRESSIONS.shipped / SHIPPED_ANSWERS, save(answers))


if __name__ == "__main__":
    main()
