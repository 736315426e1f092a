"""Images of none of the classes, and what the warning lets pass of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoints.store import Calibration, Card
from core.data import cifar10
from core.data.dataset import ImageCard, Split
from core.inference import foreign
from core.inference.evaluation import measure_misses
from core.inference.foreign import KINDS, auroc, class_words, foreign_images
from core.inference.images import Answers
from tests.unit.builders import synthetic

KIND_NAMES = [kind.name for kind in KINDS]


def card_of(*classes: str, side: int = 32) -> ImageCard:
    return dataclasses.replace(synthetic(8, 8).card, classes=classes, image_size=side)


def test_they_are_the_same_each_time_of_the_cards_size_and_not_of_one_kind(lab_home: Path) -> None:
    first = dict(foreign_images(card_of("a", "b")))
    foreign._draw.cache_clear()
    again = dict(foreign_images(card_of("a", "b")))
    assert list(first) == KIND_NAMES[:-1], "CIFAR-10 was not fetched here"
    for name, images in first.items():
        assert images.shape == (80, 32, 32, 3)
        assert images.dtype == np.uint8
        assert np.array_equal(images, again[name])
        assert len(np.unique(images.reshape(80, -1), axis=0)) > 60, f"{name} differ"
    large = dict(foreign_images(card_of("a", "b", side=224)))
    assert {images.shape for images in large.values()} == {(40, 224, 224, 3)}


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    assert np.array_equal(foreign._all_digits(), load_digits().images)


def test_cifar_10_joins_where_it_was_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr(cifar10, "read_test_images", lambda: stored)
    found = dict(foreign_images(card_of("rose", "tulip")))[KIND_NAMES[-1]]
    rows = {image.tobytes() for image in stored}
    assert all(image.tobytes() in rows for image in found)
    for known in (("ship", "rose"), ("My Cats", "rose"), ("pickup_trucks", "rose")):
        assert KIND_NAMES[-1] not in dict(foreign_images(card_of(*known)))


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("7", "handwritten digits"),
        ("Gravel roads", "textures"),
        ("receipt-text", "printed text"),
        ("noise", "patterns"),
    ],
)
def test_a_kind_that_may_be_one_of_the_classes_is_left_out(lab_home: Path, label: str, kind: str) -> None:
    assert set(KIND_NAMES[:-1]) - set(dict(foreign_images(card_of(label, "a")))) == {kind}


def test_words_of_a_class_name() -> None:
    assert class_words("IMG_Red-Cars 2") == {"img", "red", "cars", "car", "2"}


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    familiar, foreign = random.integers(0, 9, 40), random.integers(3, 12, 30)
    pairs = foreign[:, None] - familiar
    assert auroc(familiar, foreign) == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    assert auroc(np.zeros(5), np.ones(3)) == 1.0


def test_misses_are_counted_kind_by_kind(lab_home: Path) -> None:
    card = Card(title="x", model="simple_cnn", model_config={}, dataset=card_of("a", "b"))

    def answer(split: Split) -> Answers:
        """Sure of bright images: of those alone the energy is below the threshold."""
        bright = torch.from_numpy(split.images.mean((1, 2, 3)) > 100)
        return Answers(torch.where(bright[:, None], torch.tensor([9.0, 0.0]), torch.tensor([0.0, 0.0])))

    found = measure_misses(card, Calibration(energy_threshold=-5.0), Answers(torch.full((10, 2), 20.0)), answer)
    assert found is not None
    bright = {kind: float((images.mean((1, 2, 3)) > 100).mean()) for kind, images in foreign_images(card.image_data)}
    assert found.by_kind == pytest.approx(bright)
    assert found.images == 400
    assert found.rate == pytest.approx(np.mean(list(bright.values())))
    assert found.auroc == 1.0
    assert measure_misses(card, Calibration(), Answers(torch.zeros(1, 2)), answer) is None
