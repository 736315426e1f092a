"""Make what ships with the Shift page: checkpoints and eight arms of a study on corrupted images, and on drawings.

python -m scripts.make_shift arms [ARM ...]    trains what is missing of the arms, some minutes each
python -m scripts.make_shift tables [NAME ...] measures `checkpoints` and `arms`, and classifies the drawings
python -m scripts.make_shift drawings          writes one drawing of each class by each vendor
Both go on with what is missing when they are started again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.common.devices import worker_environment

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef
    from core.training.config import TrainConfig

ARMS = ("none", "augment=2", "dropout=0.3", "l2=0.3", "mixup=0.2", "label_smoothing=0.1", "augmix=3", "noise=0.1")
"""As a study writes them. Each is a change of one base: Simple CNN's quick recipe without flips, crops and weight decay."""
CHECKPOINTS = (
    *("fast_resnet", "fast_resnet_fastest", "fast_resnet_smallest"),
    *("compact_transformer", "simple_cnn", "simple_cnn_distilled"),
)
TRAIN_IMAGES = 20_000
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("arms", "tables", "drawings"))
    parser.add_argument("names", nargs="*", help="some arms, or tables: checkpoints, arms, renditions")
    parser.add_argument("--images", type=int, default=2000, help="test images of a table (default 2000)")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    os.environ.update(worker_environment(1))
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(given.threads)
    if given.what == "arms":
        for spec in given.names or ARMS:
            train_arm(spec)
        return
    if given.what == "drawings":
        write_drawings()
        return
    for name in given.names or ("checkpoints", "arms", "renditions"):
        {"checkpoints": make_checkpoints, "arms": make_arms, "renditions": make_renditions}[name](given.images)


def arm_config(spec: str) -> TrainConfig:
    from core.regularization.arms import parse_arm
    from core.training.recipes import get_recipe

    base = get_recipe("simple_cnn", "quick").replace(
        flip="none", crop_padding=0, weight_decay=0.0, train_images=TRAIN_IMAGES, eval_every=3, seed=SEED
    )
    return parse_arm(spec).variants[0].apply(base.replace(recipe=f"shift {spec}"))


def train_arm(spec: str) -> None:
    from core.data import load_images
    from core.regularization.arms import parse_arm
    from scripts.make_pretrained import Shipped, make_one

    config, title = arm_config(spec), parse_arm(spec).variants[0].label
    make_one(Shipped(title=title, model="simple_cnn", recipe=config.recipe), config, load_images("cifar10"), None)


def make_checkpoints(images: int) -> None:
    from core.checkpoints.store import find_checkpoint

    measure("checkpoints", [find_checkpoint(name) for name in CHECKPOINTS], list(CHECKPOINTS), images)


def make_arms(images: int) -> None:
    from core.checkpoints.store import find_checkpoint
    from core.common.paths import lab_home

    folders = [lab_home() / "shipping" / f"simple_cnn-shift {spec}-{SEED}" for spec in ARMS]
    measure("arms", [find_checkpoint(str(folder)) for folder in folders], list(ARMS), images)


def measure(table: str, references: list[CheckpointRef], names: list[str], images: int) -> None:
    """Write a table, as TABLE.json; each corruption is kept as soon as it is measured."""
    from core.checkpoints.store import load_checkpoint, version_words
    from core.common.devices import hardware
    from core.common.output import note
    from core.common.paths import ensure_folder, lab_home
    from core.data import load_images
    from core.shift.catalogue import CORRUPTIONS
    from core.shift.config import ShiftConfig
    from core.shift.measure import draw_images, maker, measure_part
    from core.shift.results import CLEAN, MEASUREMENTS, ShiftResult

    card = references[0].card
    config = ShiftConfig(
        checkpoints=tuple(names),
        corruptions=tuple(CORRUPTIONS),
        images=images,
        seed=SEED,
        model=card.model,
        dataset=card.dataset.name,
        fingerprints=tuple(reference.card.fingerprint for reference in references),
    )
    checkpoints = [load_checkpoint(reference) for reference in references]
    dataset = load_images(card.image_data.name)
    numbers, make = draw_images(dataset, images, SEED), maker(dataset.test.images, SEED)
    work = lab_home() / "shipping" / f"shift-{table}-{images}"
    parts = {}
    for corruption in (CLEAN, *config.corruptions):
        folder = ensure_folder(work / corruption)
        part = MEASUREMENTS.read_part(folder)
        if part is None:
            started = time.monotonic()
            part = measure_part(checkpoints, dataset.test, numbers, corruption, make)
            MEASUREMENTS.write_part(folder, part)
            note(f"{table}, {corruption}: {time.monotonic() - started:.0f} s")
        parts[corruption] = part
    made = {
        "hardware": hardware("cpu"),
        "versions": version_words(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "threads": os.environ["OMP_NUM_THREADS"],
    }
    titles = tuple(reference.label for reference in references)
    result = ShiftResult(config=config, titles=titles, parts=parts, made=made)
    _write(MEASUREMENTS.shipped / f"{table}.json", result.to_dict())


def make_renditions(images: int) -> None:
    from core.checkpoints.store import load_checkpoint
    from core.shift.emoji import load_emoji
    from core.shift.renditions import RENDITIONS, measure_renditions

    emoji = load_emoji()
    for name in CHECKPOINTS:
        _write(RENDITIONS.shipped / f"{name}.json", measure_renditions(load_checkpoint(name), emoji).to_dict())


def write_drawings() -> None:
    """The strips of `core.shift.emoji.example_emoji`."""
    import numpy as np
    from PIL import Image

    from core.shift.emoji import EXAMPLES, SHIPPED, VENDORS, load_emoji

    drawn = {(item.vendor, item.name): item.rgba for item in load_emoji()}
    SHIPPED.mkdir(parents=True, exist_ok=True)
    for vendor in VENDORS:
        strip = np.concatenate([drawn[vendor, name] for name, _ in EXAMPLES], axis=1)
        Image.fromarray(strip).save(SHIPPED / f"{vendor}.png", optimize=True)


def _write(path: Path, values: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
