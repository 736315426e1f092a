"""Make a checkpoint that ships: `python -m core.pretrained fast_resnet --seeds 3`.

Trains the recipe once per seed (each resumable: run the command again after an interruption), evaluates every one on
the test images, and ships the first seed with the mean and spread over all of them on its card: never the best of
several.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from core.devices import worker_environment

# title, model, recipe, dtype on disk
SHIPPED: dict[str, tuple[str, str, str, str]] = {
    "simple_cnn": ("Simple CNN", "simple_cnn", "default", "float32"),
    "fast_resnet": ("Fast ResNet", "fast_resnet", "default", "float16"),
    "fast_resnet_long": ("Fast ResNet, long recipe", "fast_resnet", "long", "float16"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.pretrained", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("name", choices=SHIPPED)
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0 (default 1)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: one per core)")
    arguments = parser.parse_args()
    os.environ.update(worker_environment(1))
    if arguments.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(arguments.threads)
    ship(arguments.name, arguments.seeds)


def ship(name: str, seeds: int) -> None:
    from core.checkpoints import PRETRAINED, load_checkpoint, save_checkpoint
    from core.data import load_dataset
    from core.evaluation import calibrate, evaluate
    from core.paths import ensure_folder, lab_home

    title, model, recipe, dtype = SHIPPED[name]
    dataset = load_dataset("cifar10")
    results: list[dict[str, Any]] = []
    for seed in range(seeds):
        work = ensure_folder(lab_home() / "shipping" / f"{name}-{seed}")
        seconds, session = _train(model, recipe, seed, dataset, work)
        card = session.card(title)
        # What is measured is what ships: weights rounded to the dtype on disk.
        save_checkpoint(work, session.eval_model(), card, dtype=dtype)
        checkpoint = load_checkpoint(str(work))
        card = dataclasses.replace(checkpoint.card, calibration=calibrate(checkpoint, dataset.validation))
        checkpoint = dataclasses.replace(checkpoint, card=card)
        tests = {tta: evaluate(checkpoint, dataset.test, tta) for tta in dict.fromkeys(("none", "flip", card.tta))}
        validation = evaluate(checkpoint, dataset.validation)
        results.append(
            {
                "seed": seed,
                "test_accuracy": tests[card.tta].accuracy,
                "test_interval": tests[card.tta].interval,
                **{f"test_accuracy_tta_{tta}": result.accuracy for tta, result in tests.items()},
                "test_ece": tests[card.tta].ece,
                "test_flagged": tests[card.tta].flagged,
                "val_accuracy": validation.accuracy,
                "training_seconds": round(seconds, 1),
            }
        )
        print(json.dumps(results[-1]), flush=True)
        save_checkpoint(work, checkpoint.model, card, dtype=dtype)
    first = load_checkpoint(str(lab_home() / "shipping" / f"{name}-0"))
    metrics = dict(results[0]) | {"seeds": results}
    for key in [key for key in results[0] if key.startswith("test_accuracy")]:
        values = [result[key] for result in results]
        metrics[f"{key}_mean"] = statistics.mean(values)
        metrics[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else None
    card = dataclasses.replace(
        first.card,
        metrics=metrics,
        notes=_notes(name, seeds),
    )
    save_checkpoint(PRETRAINED / name, first.model, card, dtype=dtype)


def _notes(name: str, seeds: int) -> str:
    spread = (
        "The checkpoint is seed 0; mean and standard deviation are over all seeds."
        if seeds > 1
        else "One seed was trained, so the spread over seeds is not known."
    )
    return (
        f"Made by `python -m core.pretrained {name} --seeds {seeds}`. {spread} Trained on 45,000 images; temperature and "
        "warning threshold are set on the other 5,000; the test images were used for the figures only."
    )


def _train(model: str, recipe: str, seed: int, dataset: Any, work: Path) -> tuple[float, Any]:
    """Train one seed, saving its state at every evaluation. Returns training seconds and the finished session."""
    from core.training.recipes import get_recipe
    from core.training.results import EvalResult
    from core.training.session import TrainSession
    from core.training.trainer import train

    session = TrainSession.start(get_recipe(model, recipe).replace(seed=seed), dataset)
    clock = work / "seconds.json"
    before = json.loads(clock.read_text()) if clock.is_file() else 0.0
    if (work / "state.pt").is_file():
        session.load_state(work / "state.pt")
    started = time.monotonic()
    for result in train(session):
        if isinstance(result, EvalResult):
            print(
                f"seed {seed} epoch {result.epoch:g} train {result.train_loss_nats:.4f} val {result.val_loss_nats:.4f} "
                f"accuracy {result.val_accuracy:.4f} after {before + time.monotonic() - started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            session.save_state(work / "state.pt")
            clock.write_text(json.dumps(before + time.monotonic() - started))
    return before + time.monotonic() - started, session


if __name__ == "__main__":
    main()
