"""Generated images as a dataset: what is written is what is read, validation and test are real, damage is one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data import (
    canonical_name,
    dataset_sizes,
    dataset_state,
    dataset_status,
    dataset_title,
    generated,
    load_images,
    load_text,
)
from core.data.generated import (
    CARD,
    IMAGES,
    LABELS,
    GeneratedCard,
    list_generated,
    read_card,
    source,
    write_generated,
)
from tests.unit.failures import refusal

COUNT = 30
NAME = "generated:flow-1"


@pytest.fixture(autouse=True)
def own_sets(home: Path) -> None:
    """Sets of one test are not seen by another; what was decoded of the base is."""
    shutil.rmtree(generated.home(), ignore_errors=True)


@pytest.fixture
def base(tiny_dataset_folder: Path) -> str:
    return f"folder:{tiny_dataset_folder}"


def card(base: str, **changes: Any) -> GeneratedCard:
    values = {"title": "Flow", "base": base, "checkpoint": "flow", "guidance": 2.0, "steps": 20, "trained_on": 180}
    return GeneratedCard(**values | {"count": COUNT} | changes)


def arrays(seed: int = 0, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (COUNT, side, side, 3), dtype=np.uint8), np.arange(COUNT, dtype=np.int64) % 3


def write(base: str, set_id: str = "flow-1", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    images, labels = arrays(seed)
    assert write_generated(set_id, images, labels, card(base)) == f"generated:{set_id}"
    return images, labels


def test_a_set_trains_on_generated_images_and_is_tested_on_real_ones(base: str) -> None:
    images, labels = write(base)
    found, real = load_images(NAME), load_images(base)
    assert np.array_equal(found.train.images, images)
    assert np.array_equal(found.train.labels, labels)
    for split in ("validation", "test"):
        ours, theirs = getattr(found, split), getattr(real, split)
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)
    assert found.card.classes == real.card.classes
    assert found.card.name == NAME
    assert found.card.sizes == real.card.sizes | {"train": COUNT} == dataset_sizes(NAME)
    scaled = images.reshape(-1, 3) / 255
    assert found.card.mean == pytest.approx(scaled.mean(0))
    assert found.card.std == pytest.approx(scaled.std(0))
    assert found.card.sha256.items() >= real.card.sha256.items()
    assert found.card.sha256["generated_images"] == hashlib.sha256(images.tobytes()).hexdigest()
    assert canonical_name(NAME) == NAME
    assert dataset_title(NAME) == "Flow"
    assert dataset_status(NAME).ready
    assert read_card(NAME) == card(base)


def test_sets_are_listed_the_newest_first_and_one_of_the_same_id_is_replaced(base: str) -> None:
    write(base)
    before = dataset_state(NAME)
    write(base, "b")
    images, _ = write(base, seed=1)
    assert [entry.name for entry in list_generated()] == [NAME, "generated:b"]
    assert np.array_equal(load_images(NAME).train.images, images)
    assert dataset_state(NAME) != before
    (generated.home() / "b" / CARD).write_text("{")
    (generated.home() / "not a set!").mkdir()
    assert [entry.name for entry in list_generated()] == [NAME]
    assert sorted(path.name for path in (generated.home() / "flow-1").iterdir()) == sorted((CARD, IMAGES, LABELS))
    assert not list(generated.home().glob(".*"))


def refuse(words: str, name: str = NAME) -> None:
    with refusal(words):
        load_images(name)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (arrays()[0].astype(np.float32), arrays()[1], "float32"),
        (arrays()[0][..., :1], arrays()[1], "shape"),
        (arrays()[0], arrays()[1].astype(np.int32), "int32"),
        (arrays()[0], arrays()[1][:-1], "shape"),
        (arrays()[0][:20], arrays()[1][:20], "20 images, where its card says 30"),
        (arrays()[0][:0], arrays()[1][:0], "0 images"),
        (arrays(side=16)[0], arrays()[1], "16×16"),
        (arrays()[0], arrays()[1] + 1, "labels outside 0 to 2"),
        (arrays()[0], arrays()[1] - 1, "labels outside 0 to 2"),
        (np.array([None] * COUNT), arrays()[1], "images.npy cannot be read"),
    ],
)
def test_arrays_that_are_no_labelled_images_are_refused(
    images: np.ndarray, labels: np.ndarray, words: str, base: str
) -> None:
    write(base)
    np.save(generated.home() / "flow-1" / IMAGES, images, allow_pickle=True)
    np.save(generated.home() / "flow-1" / LABELS, labels)
    refuse(f"flow-1 are damaged .*{words}.*: generate them again")
    if images.dtype != object and images.shape[1:2] != (16,) and "outside" not in words:
        with refusal("cannot be kept"):
            write_generated("other", images, labels, card(base))
        assert not (generated.home() / "other").exists()


@pytest.mark.parametrize("cut", [0, 5, 60, 128, 1000])
@pytest.mark.parametrize("file", [IMAGES, LABELS])
def test_a_file_that_was_cut_off_is_one_sentence(file: str, cut: int, base: str) -> None:
    write(base)
    path = generated.home() / "flow-1" / file
    path.write_bytes(path.read_bytes()[: min(cut, path.stat().st_size - 1)])
    refuse("damaged")


def test_a_header_cannot_claim_more_than_the_file_holds(base: str) -> None:
    write(base)
    path = generated.home() / "flow-1" / IMAGES
    path.write_bytes(path.read_bytes().replace(b"(30, 32, 32, 3)", b"(30000000, 32, 32, 3)".ljust(15))[: 10**6])
    refuse("damaged")


@pytest.mark.parametrize("values", ["", "[]", "{}", json.dumps({"title": 3}), "\xff", "[" * 100_000])
def test_a_damaged_card_is_one_sentence(values: str, base: str) -> None:
    write(base)
    (generated.home() / "flow-1" / CARD).write_text(values)
    refuse("its card cannot be read")


@pytest.mark.parametrize(
    "name", ["generated:", "generated:../x", "generated:a b", "generated:" + "a" * 81, "generated:ä"]
)
def test_a_name_never_leaves_its_folder(name: str) -> None:
    refuse("is no name of generated images", name)
    with refusal():
        write_generated(name.removeprefix("generated:"), *arrays(), card("cifar10"))


def test_what_is_not_there_or_rests_on_what_is_not_there(base: str) -> None:
    refuse("There are no generated images named flow-1")
    write("folder:/nowhere/at/all")
    refuse("There is no folder")
    with refusal("real ones"):
        write_generated("again", *arrays(), card(NAME))
    write(base)
    path = generated.home() / "flow-1" / CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base": "generated:flow-1"}))
    refuse("its base is another generated set")
    write(base)
    with refusal("holds images and a text is needed"):
        load_text(NAME)


def test_a_title_is_one_printable_line(base: str) -> None:
    write_generated("flow-1", *arrays(), card(base, title="a\n\x1b[31m" + "b" * 500))
    assert source(NAME).title == "a [31m" + "b" * 94
