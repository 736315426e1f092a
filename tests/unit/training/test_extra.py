"""Extra training images: what a run trains on is exact, a resume is the same run, and mistakes are one sentence."""

from __future__ import annotations

import itertools
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.data import generated, load_images
from core.data.dataset import Split
from core.data.generated import GeneratedCard, write_generated
from core.training.config import TrainConfig
from core.training.estimate import START_SECONDS, estimate_seconds, known_speed
from core.training.extra import with_extra
from core.training.head_task import HeadTask
from core.training.session import TrainSession
from core.training.trainer import train
from tests.tiny import write_class_folders
from tests.unit.failures import refusal
from tests.unit.training.test_trainer import weights

COUNT = 90
EXTRA = "generated:noise"
"""Noise, with as many images of each class."""


@pytest.fixture(scope="module")
def base(home: Path, tiny_dataset_folder: Path) -> str:
    name = f"folder:{tiny_dataset_folder}"
    write(name)
    return name


def write(base: str, seed: int = 0, set_id: str = "noise") -> None:
    images = np.random.default_rng(seed).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    card = GeneratedCard(title="Noise", base=base, checkpoint="x", trained_on=0, count=COUNT)
    write_generated(set_id, images, np.arange(COUNT, dtype=np.int64) % 3, card)


def config(base: str, **changes: Any) -> TrainConfig:
    small = {"model": "simple_cnn", "model_config": {"widths": [4, 8]}, "epochs": 2, "batch_size": 8}
    return TrainConfig(**small | {"dataset": base, "device": "cpu"} | changes)


real_images = lru_cache(maxsize=1)(load_images)


def start(config: TrainConfig) -> TrainSession:
    return TrainSession.start(config, real_images(config.dataset), "cpu")


def counts(session: TrainSession) -> tuple[list[int], list[int]]:
    """Real and extra images of each class that a session trains on. Fails where one is there twice, or of neither."""
    split, data = session.task.train, real_images(session.config.dataset)  # type: ignore[attr-defined]
    extra = load_images(session.config.extra_dataset) if session.config.extra_dataset else data
    places = {"real": _keys(data.train), "extra": _keys(extra.train)}
    mine = _keys(split)
    assert len(set(mine)) == len(mine)
    assert set(mine) <= {*places["real"], *places["extra"]}
    return tuple(
        np.bincount(
            [label for key, label in zip(mine, split.labels, strict=True) if key in places[kind]], minlength=3
        ).tolist()
        for kind in places
    )  # type: ignore[return-value]


def _keys(split: Split) -> list[bytes]:
    return [image.tobytes() + bytes([label]) for image, label in zip(split.images, split.labels, strict=True)]


def test_the_four_ways_to_compose_a_training_set_are_exact(base: str) -> None:
    added = {"extra_dataset": EXTRA, "extra_images": 30}
    for seed in (0, 1):
        assert counts(start(config(base, seed=seed, train_images=15))) == (
            [5] * 3,
            [5] * 3,
        )  # nothing extra: both are real
        assert counts(start(config(base, seed=seed, train_images=15, **added))) == ([5] * 3, [10] * 3)
        only = start(config(base, seed=seed, train_images=15, extra_only=True, **added))
        assert counts(only) == ([0] * 3, [10] * 3)
        assert counts(start(config(base, seed=seed, train_images=45))) == ([15] * 3, [15] * 3)
    whole = start(config(base, extra_dataset=EXTRA))
    assert counts(whole)[1] == [COUNT // 3] * 3
    assert len(whole.task.train) == len(real_images(base).train) + COUNT  # type: ignore[attr-defined]
    assert whole.steps_per_epoch == len(whole.task.train) // 8  # type: ignore[attr-defined]


def test_real_images_stay_the_same_beside_extra_ones_and_another_seed_draws_others(base: str) -> None:
    def split(seed: int, **changes: Any) -> Split:
        return start(config(base, seed=seed, train_images=15, **changes)).task.train  # type: ignore[attr-defined, no-any-return]

    added = {"extra_dataset": EXTRA, "extra_images": 30}
    alone, both, only = split(0), split(0, **added), split(0, extra_only=True, **added)
    assert _keys(both) == _keys(alone) + _keys(only)
    assert _keys(split(0, **added)) == _keys(both)
    assert set(_keys(split(1, extra_only=True, **added))) != set(_keys(only))
    more = split(0, extra_dataset=EXTRA, extra_images=45)
    assert set(_keys(both)) < set(_keys(more))


@pytest.mark.parametrize("only", [False, True])
def test_a_resumed_run_is_the_same_run_bit_for_bit(only: bool, base: str, tmp_path: Path) -> None:
    mine = config(base, train_images=24, extra_dataset=EXTRA, extra_images=24, extra_only=only, flip="random")
    whole, first = start(mine), start(mine)
    expected = list(train(whole))
    results = list(itertools.islice(train(first), 4))
    assert first.save_state(tmp_path / "state.pt")
    torch.manual_seed(999)
    second = start(mine)
    second.load_state(tmp_path / "state.pt")
    assert results + list(train(second)) == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))


def test_a_run_does_not_go_on_with_other_extra_images(base: str, tmp_path: Path) -> None:
    mine = config(base, train_images=24, extra_dataset="generated:changed")
    write(base, set_id="changed")
    first = start(mine)
    next(train(first))
    first.save_state(tmp_path / "state.pt")
    write(base, seed=1, set_id="changed")
    with refusal("^The data of Noise have changed"):
        start(mine).load_state(tmp_path / "state.pt")
    write(base, set_id="changed")
    start(mine).load_state(tmp_path / "state.pt")
    without = start(config(base, train_images=24))
    assert not [name for name in without.state_dict()["data"] if "extra" in name]


def test_a_head_is_trained_on_extra_images_too(base: str) -> None:
    data = real_images(base)
    mine = config(base, init_from="x", train_layers="head", train_images=15, extra_dataset=EXTRA, extra_images=30)
    task = HeadTask(mine, data, "cpu", torch.float32, torch.autocast("cpu", enabled=False))
    assert len(task.train) == len(task.train_data) == 45


def test_what_does_not_go_together_is_one_sentence(base: str, tmp_path: Path) -> None:
    with refusal("extra_images=5 needs a dataset"):
        config(base, extra_images=5)
    with refusal("extra_only=True needs a dataset"):
        config(base, extra_only=True)
    with refusal("the dataset of the run itself"):
        config(base, extra_dataset=base)
    data = real_images(base)
    cases = {
        f"has {COUNT} training images": {"extra_dataset": EXTRA, "extra_images": COUNT + 1},
        "There are no generated images": {"extra_dataset": "generated:gone"},
        "There is no dataset named": {"extra_dataset": "nothing"},
        "is a text and images are needed": {"extra_dataset": "tiny_shakespeare"},
    }
    folder = write_class_folders(tmp_path / "two", train=4, test=2)
    cases["of 64 pixels"] = {"extra_dataset": f"folder:{folder}?size=64"}
    other = write_class_folders(tmp_path / "other", train=4, test=2)
    for split in ("train", "test"):
        (other / split / "cross").rename(other / split / "star")
    cases["different classes"] = {"extra_dataset": f"folder:{other}"}
    for words, changes in cases.items():
        with refusal(words):
            with_extra(config(base, **changes), data.card, data.train)
    (generated.home() / "bad").mkdir()
    with refusal("damaged"):
        with_extra(config(base, extra_dataset="generated:bad"), data.card, data.train)


def test_the_time_of_a_run_counts_extra_images(base: str) -> None:
    mine = config(base, model_config={}, train_images=20)
    speed = known_speed(mine, "cpu")
    assert speed
    for changes, images in (
        ({}, 20),
        ({"extra_dataset": EXTRA, "extra_images": 30}, 50),
        ({"extra_dataset": EXTRA}, 20 + COUNT),
        ({"extra_dataset": EXTRA, "extra_images": 30, "extra_only": True}, 30),
    ):
        found = estimate_seconds(mine.replace(**changes), "cpu", 1000)
        assert found == pytest.approx(START_SECONDS + 2 * images / speed)
