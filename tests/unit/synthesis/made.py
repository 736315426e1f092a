"""A dataset from a seed in which more images help a lot, and studies of what is called synthetic there."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.data.dataset import ImageCard, ImageDataset, Split
from core.data.generated import GeneratedCard, write_generated
from core.data.source import DatasetSource
from core.jobs import RunStore
from core.regularization.kind import STUDY
from core.regularization.results import MemberResult, StudyResult
from core.regularization.store import read_study
from core.regularization.study import StudyConfig
from core.synthesis.worth import worth_study
from tests.unit.in_process import finish

CLASSES = 3
SIZE, MORE = 18, 180
"""Real images of an arm, and images that others add."""
NAME = "rows"


def draw(count: int, seed: int) -> Split:
    """Noise; each class has a slightly brighter band of rows at another place."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    images = random.integers(0, 160, (count, 16, 16, 3))
    for label in range(CLASSES):
        images[labels == label, 2 + 5 * label : 4 + 5 * label] += 20
    return Split(images=images.astype(np.uint8), labels=labels)


@lru_cache(maxsize=1)
def dataset() -> ImageDataset:
    card = ImageCard(
        name=NAME,
        title="Rows",
        classes=tuple("abc"),
        image_size=16,
        sizes={"train": 300, "validation": 90, "test": 300},
        sha256={"train_images": "0"},
        mean=(0.33, 0.33, 0.33),
        std=(0.2, 0.2, 0.2),
    )
    return ImageDataset(card=card, train=draw(300, 0), validation=draw(90, 1), test=draw(300, 2))


def source() -> DatasetSource:
    """What the registry holds of it during a test."""
    return DatasetSource(
        name=NAME,
        title="Rows",
        description="Bands of rows.",
        task="images",
        load=lambda on_progress: dataset(),
        is_ready=lambda: True,
        folder=Path,
        sizes=lambda: dataset().card.sizes,
    )


def write_set(set_id: str, split: Split, trained_on: int = 0) -> str:
    card = GeneratedCard(title=set_id.title(), base=NAME, checkpoint="made", trained_on=trained_on, count=len(split))
    return write_generated(set_id, split.images, split.labels, card)


def small_study(name: str, seeds: int = 3) -> StudyConfig:
    return worth_study(
        name,
        (SIZE,),
        MORE,
        seeds=seeds,
        steps=80,
        batch_size=18,
        evaluations=1,
        model_config={"widths": [8, 16]},
        device="cpu",
    )


def run_study(config: StudyConfig) -> tuple[str, StudyResult]:
    """Its id, and what it found."""
    store = RunStore()
    run = finish(store, store.create(config, "Worth", kind=STUDY.name))
    assert run.status == "finished", (run.message, store.log(run.id))
    return run.id, read_study(store, run.id)


ADDS = {"synthetic": 0.004, "synthetic_only": -0.2, "more_real": 0.1}
"""What each arm adds to the accuracy of the real images alone, in studies that were made up."""


def made_up(
    sizes: tuple[int, ...] = (100, 1000), adds: dict[str, float] = ADDS, seeds: int = 3, trained_on: int = 500
) -> StudyResult:
    """A study that is over, of 5,000 images: 0.3 with 100 real ones, 0.5 with 1,000, and a little luck of each seed and arm."""
    config = StudyConfig(
        dataset="cifar10",
        extra_dataset="generated:flow-1",
        arms=tuple(f"{kind}=5000" for kind in adds),
        train_sizes=sizes,
        seeds=seeds,
        steps=20,
    )
    members = []
    for member in config.members():
        kind = member.variant.techniques[0].name if member.variant.techniques else ""
        luck = 0.001 * ((member.seed * 7 + len(kind)) % 3 - 1) + 0.01 * member.seed
        real = 0.3 + 0.2 * math.log10(member.train_size / 100)
        value = adds[kind] + 0.4 if kind == "synthetic_only" else real + adds.get(kind, 0.0)
        members.append(
            MemberResult(
                variant=member.variant.spec,
                train_size=member.train_size,
                seed=member.seed,
                status="finished",
                step=config.steps,
                kept_step=config.steps,
                train_accuracy=0.9,
                val_accuracy=value + luck,
                val_loss_nats=1.0,
                test_accuracy=value + luck,
                test_loss_nats=1.0,
            )
        )
    card = GeneratedCard(title="Flow", base="cifar10", checkpoint="flow", trained_on=trained_on, count=5000)
    return StudyResult(
        config=config,
        members=tuple(members),
        name="Worth of Flow",
        sizes={"train": 45_000, "validation": 5_000, "test": 10_000},
        made={"hardware": "two cores"},
        extra=card.to_dict(),
    )
