"""Studies with figures that were made up, for the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest

from core.checkpoints.store import MEMBERS
from core.jobs import RunStore
from core.regularization.kind import STUDY
from core.regularization.results import Curve, MemberResult, StudyResult
from core.regularization.store import STUDIES
from core.regularization.study import StudyConfig

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CONFIG = StudyConfig(
    arms=("none", "l2=0.1", "dropout=0.1/0.5", "augment", "augment+dropout=0.3"), train_sizes=(500, 2000), steps=20
)
EFFECTS = {"augment=2": 0.1, "dropout=0.1": 0.02, "dropout=0.5": 0.05, "dropout=0.3+augment=2": -0.1, "l2=0.1": 0.001}
"""What each variant adds to the accuracy of no regularization."""
SIZES = {"train": 45_000, "validation": 5_000, "test": 10_000}


def accuracy(variant: str, train_size: int, seed: int) -> float:
    """0.4 at 500 images and 0.6 at 2,000 without regularization; what a seed does differs between arms by at most 0.002."""
    sign = 1 if sum(map(ord, variant)) % 2 else -1
    return 0.4 + (train_size == 2000) * 0.2 + EFFECTS.get(variant, 0.0) + (0.01 + sign * 0.001) * (seed - 1)


def result_of(config: StudyConfig = CONFIG, name: str = "Made up") -> StudyResult:
    """A study that is over."""
    members = []
    for member in config.members():
        value = accuracy(member.variant.spec, member.train_size, member.seed)
        members.append(
            MemberResult(
                variant=member.variant.spec,
                train_size=member.train_size,
                seed=member.seed,
                status="finished",
                step=config.steps,
                curve=Curve(
                    step=(10, 20),
                    train_accuracy=(0.5, 0.9),
                    val_accuracy=(value / 2, value),
                    train_loss_nats=(1.5, 0.3),
                    val_loss_nats=(2.0, 1.5),
                ),
                kept_step=config.steps,
                train_accuracy=0.9,
                val_accuracy=value,
                val_loss_nats=1.5,
                test_accuracy=value,
                test_loss_nats=1.5,
                test_per_class=tuple(value + (0.1 if label == "cat" else 0.0) for label in CLASSES),
                seconds=3.0,
            )
        )
    return StudyResult(
        config=config,
        members=tuple(members),
        name=name,
        classes=CLASSES,
        sizes=SIZES,
        made={"hardware": "two cores", "command": "python -m core study"},
    )


def ship(folder: Path, result: StudyResult, name: str = "example") -> None:
    """Write a study as one that ships."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result.to_dict()))


def store_study(result: StudyResult, *, over: int | None = None, **status: object) -> str:
    """Write a study as its worker leaves it; returns its id. over: how many of its runs are over, all if None."""
    store = RunStore()
    run_id = store.create(result.config, result.name, kind=STUDY.name)
    folder = store.folder(run_id)
    STUDIES.write_facts(folder, classes=list(result.classes), sizes=result.sizes, made=result.made)
    done = result.members[:over]
    for member, item in zip(result.config.members(), done, strict=False):
        target = folder / MEMBERS / member.id
        target.mkdir(parents=True)
        STUDIES.write_part(target, item)
    values = {"status": "finished", "message": "", "parts_done": len(done), "step": len(done) * result.config.steps}
    (folder / "status.json").write_text(json.dumps(values | {"final": False} | status))
    return run_id


def progress(at: AppTest) -> str:
    """What the progress bars say."""
    return "\n".join(bar.proto.text for bar in at.get("progress"))
