"""Make the comparison of starts that ships: `python -m scripts.measure_starts`.

The head of an ImageNet backbone against Simple CNN and Fast ResNet from random weights, on 100, 1,000 and 10,000 images of
CIFAR-10 with three seeds, all measured on the same test images. Simple CNN trains by its default recipe, Fast ResNet by its
quick one, as the form fits them to so many images, but on at most MOST_SEEN images; the head by its own recipe. Runs that
are in the file are not repeated.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from core.checkpoints.store import Checkpoint, version_words
from core.common.devices import hardware
from core.data import load_images, subset
from core.data.dataset import ImageDataset
from core.images.starts import BASELINE, LEARNED, SHIPPED, StartRun, Starts, shipped_starts
from core.inference.evaluation import evaluate
from core.training.config import TrainConfig
from core.training.recipes import fit_to_data, get_recipe
from core.training.session import TrainSession
from core.training.trainer import train

ARMS = {
    BASELINE: ("Simple CNN, random weights", "default"),
    LEARNED: ("ImageNet backbone, new last layer", "default"),
    "fast_resnet": ("Fast ResNet, random weights", "quick"),
}
SIZES = (100, 1000, 10_000)
SEEDS = 3
MOST_SEEN = 600_000
"""Training images, repetitions counted: three minutes for Simple CNN."""
TEST_IMAGES = 2000
VALIDATION_IMAGES = 500
"""Looked at once a run and used for nothing; a head's features are computed for these too."""


def main() -> None:
    dataset = load_images("cifar10")
    dataset = replace(dataset, validation=subset(dataset.validation, VALIDATION_IMAGES, seed=0))
    test = subset(dataset.test, TEST_IMAGES, seed=0)
    before = shipped_starts()
    runs = list(before.runs) if before else []
    made = {
        "command": "python -m scripts.measure_starts",
        "hardware": hardware("cpu"),
        "versions": version_words(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    for seed in range(SEEDS):
        for size in SIZES:
            for arm in ARMS:
                if any((run.arm, run.train_size, run.seed) == (arm, size, seed) for run in runs):
                    continue
                accuracy = evaluate(trained(config_of(arm, size, seed), dataset), test).accuracy
                print(f"{datetime.now(UTC):%H:%M:%S} {arm:20} {size:6} seed {seed}: {accuracy:.1%}", flush=True)
                runs.append(StartRun(arm=arm, train_size=size, seed=seed, test_accuracy=round(accuracy, 5)))
                titles = {name: title for name, (title, _) in ARMS.items()}
                found = Starts(
                    arms=titles, runs=tuple(runs), classes=len(dataset.card.classes), test_images=len(test), made=made
                )
                SHIPPED.parent.mkdir(exist_ok=True)
                SHIPPED.write_text(found.to_json())


def config_of(arm: str, size: int, seed: int) -> TrainConfig:
    recipe = fit_to_data(get_recipe(arm, ARMS[arm][1]), size)
    epochs = min(recipe.epochs, MOST_SEEN / size)
    return recipe.replace(epochs=epochs, dataset="cifar10", train_images=size, seed=seed, keep="last", device="cpu")


def trained(config: TrainConfig, dataset: ImageDataset) -> Checkpoint:
    """The last weights of a run, as its checkpoint."""
    session = TrainSession.start(config.replace(eval_every=config.epochs), dataset)
    for _ in train(session):
        pass
    return Checkpoint(name="", card=session.card(config.recipe), model=session.eval_model().eval())


if __name__ == "__main__":
    main()
