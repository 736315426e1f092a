"""Make a checkpoint that ships: `python -m scripts.make_pretrained fast_resnet --seeds 3`.

Trains the recipe once per seed (each resumable, and a finished one is kept: run the command again after an
interruption), evaluates every one on the test images or the validation part of the text, and ships the first seed with
the mean and spread over all of them on its card: never the best of several.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.common.devices import worker_environment
from core.models import MODELS

if TYPE_CHECKING:
    from core.checkpoints.store import Calibration, Checkpoint
    from core.data.dataset import Dataset, ImageDataset, TextDataset
    from core.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    title: str
    model: str
    recipe: str
    storage: str = "float32"
    """How the file holds the weights; what is measured is what ships."""
    calibrated_by: str = ""
    """A recipe that trains on 45,000 images, for one whose own 50,000 leave none to calibrate on: its network is
    trained too, and lends temperature and threshold."""


SHIPPED: dict[str, Shipped] = {
    "simple_cnn": Shipped(title="Simple CNN", model="simple_cnn", recipe="default"),
    "fast_resnet": Shipped(
        title="Fast ResNet", model="fast_resnet", recipe="full", storage="float16", calibrated_by="default"
    ),
    "compact_transformer": Shipped(title="Compact Transformer", model="compact_transformer", recipe="default"),
    "char_lstm": Shipped(title="LSTM, Shakespeare", model="char_lstm", recipe="default", storage="float16"),
    "char_rnn": Shipped(title="Small RNN, Shakespeare", model="char_rnn", recipe="quick", storage="float16"),
    "char_gpt": Shipped(title="GPT, Shakespeare", model="char_gpt", recipe="default", storage="float16"),
    "flow_unet": Shipped(title="Flow U-Net, CIFAR-10", model="flow_unet", recipe="quick", storage="float16"),
    "fast_resnet_long": Shipped(
        title="Fast ResNet, long recipe", model="fast_resnet", recipe="long", storage="float16"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.make_pretrained", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("name", choices=SHIPPED)
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0 (default 1)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: one per core)")
    arguments = parser.parse_args()
    os.environ.update(worker_environment(1))
    if arguments.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(arguments.threads)
    ship(arguments.name, arguments.seeds)


def ship(name: str, seeds: int) -> None:
    from core.checkpoints.store import PRETRAINED, save_checkpoint
    from core.data import load_dataset
    from core.training.recipes import get_recipe

    item = SHIPPED[name]
    recipe = get_recipe(item.model, item.recipe)
    dataset = load_dataset(recipe.dataset)
    lender = None
    if item.calibrated_by:
        lender = make_one(item, get_recipe(item.model, item.calibrated_by), dataset, None)
    made = [
        make_one(item, recipe.replace(seed=seed), dataset, lender.card.calibration if lender else None)
        for seed in range(seeds)
    ]
    metrics = summary([checkpoint.card.metrics for checkpoint in made])
    if lender:
        metrics["calibrated_by"] = {"recipe": item.calibrated_by} | lender.card.metrics
    card = dataclasses.replace(made[0].card, metrics=metrics, notes=_notes(name, seeds))
    save_checkpoint(PRETRAINED / name, made[0].model, card, storage=item.storage)


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The first seed's figures, all seeds' figures, and mean and standard deviation over them (None for one seed)."""
    metrics = dict(results[0]) | {"seeds": results}
    for key in [key for key in results[0] if key.startswith("test_accuracy") or key == "val_loss_nats"]:
        values = [result[key] for result in results]
        metrics[f"{key}_mean"] = statistics.mean(values)
        metrics[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else None
    return metrics


def make_one(item: Shipped, config: TrainConfig, dataset: Dataset, lent: Calibration | None) -> Checkpoint:
    """Train and measure one seed of one recipe. lent: the calibration to use; None sets it on validation."""
    from core.checkpoints.store import CARD, load_checkpoint, save_checkpoint
    from core.common.paths import ensure_folder, lab_home
    from core.data.dataset import Split, TextDataset
    from core.inference.evaluation import FAMILIAR, calibrate, measure_misses, split_answers

    work = ensure_folder(lab_home() / "shipping" / f"{item.model}-{config.recipe}-{config.seed}")
    if (work / CARD).is_file():
        finished = load_checkpoint(str(work))
        if finished.card.recipe == config.to_dict() and finished.card.metrics:
            return finished
    _forget_another(config, work)
    seconds, session = _train(config, dataset, work)
    save_checkpoint(work, session.eval_model(), session.card(item.title), storage=item.storage)
    checkpoint = load_checkpoint(str(work))
    if isinstance(dataset, TextDataset):
        metrics = _measure_text(checkpoint, dataset)
    elif MODELS[item.model].task == "generation":
        metrics = {"velocity_error": session.task.validate(session.eval_model()).loss_nats}
    else:
        answer = partial(split_answers, checkpoint)
        if lent:  # what the warning misses is this network's own
            some = Split(images=dataset.test.images[:FAMILIAR], labels=dataset.test.labels[:FAMILIAR])
            misses = measure_misses(checkpoint.card, lent, answer(some), answer)
            calibration = dataclasses.replace(lent, misses=misses)
        else:
            calibration = calibrate(checkpoint.card, dataset, answer)
        checkpoint = dataclasses.replace(checkpoint, card=dataclasses.replace(checkpoint.card, calibration=calibration))
        metrics = _measure_images(checkpoint, dataset, config)
    card = checkpoint.card
    metrics = {"seed": config.seed} | metrics | {"training_seconds": round(seconds, 1)}
    print(json.dumps(metrics), flush=True)
    card = save_checkpoint(work, checkpoint.model, dataclasses.replace(card, metrics=metrics), storage=item.storage)
    return dataclasses.replace(checkpoint, card=card)


def _forget_another(config: TrainConfig, work: Path) -> None:
    """Start anew where what lies in `work` was begun with other settings: it must not ship under this recipe's name."""
    begun = work / "config.json"
    if not begun.is_file() or json.loads(begun.read_text()) != config.to_dict():
        for name in ("state.pt", "seconds.json"):
            (work / name).unlink(missing_ok=True)
        begun.write_text(json.dumps(config.to_dict()))


def _measure_images(checkpoint: Checkpoint, dataset: ImageDataset, config: TrainConfig) -> dict[str, Any]:
    from core.inference.evaluation import evaluate

    card = checkpoint.card
    tests = {tta: evaluate(checkpoint, dataset.test, tta) for tta in dict.fromkeys(("none", "flip", card.tta))}
    metrics = {
        "test_accuracy": tests[card.tta].accuracy,
        "test_interval": tests[card.tta].interval,
        **{f"test_accuracy_tta_{tta}": result.accuracy for tta, result in tests.items()},
        "test_ece": tests[card.tta].ece,
        "test_flagged": tests[card.tta].flagged,
    }
    if config.train_on == "train":  # otherwise the network has seen the validation images, and the figure says nothing
        metrics["val_accuracy"] = evaluate(checkpoint, dataset.validation, name="validation").accuracy
    return metrics


def _measure_text(checkpoint: Checkpoint, dataset: TextDataset) -> dict[str, Any]:
    from core.inference.text import evaluate_text

    return evaluate_text(checkpoint, dataset.validation).metrics()


def _notes(name: str, seeds: int) -> str:
    item = SHIPPED[name]
    spread = (
        "The checkpoint is seed 0; mean and standard deviation are over all seeds."
        if seeds > 1
        else "One seed was trained, so the spread over seeds is not known."
    )
    if MODELS[item.model].task == "text":
        reading = (
            "read in 16 parts side by side with the state carried, each part after the 512 characters before it"
            if MODELS[item.model].recurrent
            else "read in windows that overlap by half, so that what is scored has at least half a context before it"
        )
        return (
            f"Made by the command python -m scripts.make_pretrained {name} --seeds {seeds}. {spread} Trained on the first "
            f"90% of the characters; the loss is over all of the last 10%, {reading}. The weights are those of the last "
            "step: nothing was chosen by the validation part but the recipe itself."
        )
    if MODELS[item.model].task == "generation":
        return (
            f"Made by the command python -m scripts.make_pretrained {name} --seeds {seeds}. {spread} Trained on 45,000 images "
            "and their classes; the error is that of its velocities on 2,000 of the other 5,000."
        )
    images = (
        f"Trained on all 50,000 training images. The recipe {item.calibrated_by}, the same but for its length, was trained on "
        "45,000 images and tried on the other 5,000; temperature and warning threshold come from its network"
        if item.calibrated_by
        else "Trained on 45,000 images; temperature and warning threshold are set on the other 5,000"
    )
    return (
        f"Made by the command python -m scripts.make_pretrained {name} --seeds {seeds}. {spread} {images}; the test "
        "images were used for the figures only."
    )


def _train(config: TrainConfig, dataset: Dataset, work: Path) -> tuple[float, Any]:
    """Train, saving the state at every evaluation. Returns training seconds and the finished session."""
    from core.training.results import EvalResult
    from core.training.session import TrainSession
    from core.training.trainer import train

    session = TrainSession.start(config, dataset)
    clock = work / "seconds.json"
    before = json.loads(clock.read_text()) if clock.is_file() else 0.0
    if (work / "state.pt").is_file():
        session.load_state(work / "state.pt")
    started = time.monotonic()
    for result in train(session):
        if isinstance(result, EvalResult):
            print(
                f"{config.model} {config.recipe} seed {config.seed} epoch {result.epoch:g} "
                f"train {result.train_loss_nats:.4f} val {result.val_loss_nats:.4f} "
                f"accuracy {result.val_accuracy:.4f} after {before + time.monotonic() - started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            session.save_state(work / "state.pt")
            clock.write_text(json.dumps(before + time.monotonic() - started))
    return before + time.monotonic() - started, session


if __name__ == "__main__":
    main()
