"""Copies and distances on planted truths and on noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from core.common.errors import LabError
from core.common.pixels import from_png
from core.data.dataset import ImageDataset, Split
from core.inference.generator import make_images
from core.synthesis.copies import as_rows, copy_rate, nearest_training_images
from core.synthesis.distance import frechet_distance
from core.synthesis.evidence import class_sheet, nearest_of, new_images, training_images
from core.training.config import TrainConfig
from core.training.session import TrainSession
from core.training.trainer import train
from tests.unit.builders import synthetic


def textures(count: int, seed: int, side: int = 16) -> np.ndarray:
    """Smooth random images: no two alike, none blank."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, side // 4, side // 4, 3))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2) + random.normal(0, 12, (count, side, side, 3))
    return np.clip(fine, 0, 255).astype(np.uint8)


def rate(generated: np.ndarray, train: np.ndarray, held_out: np.ndarray):  # type: ignore[no-untyped-def]
    def near(images: np.ndarray):  # type: ignore[no-untyped-def]
        mirrored = np.ascontiguousarray(images[:, :, ::-1])
        return nearest_training_images((as_rows(images), as_rows(mirrored)), as_rows(train))

    return copy_rate(near(generated), near(held_out))


def test_copies_mirrored_and_noisy_ones_too_are_found_and_new_images_are_not() -> None:
    train, held_out, new = textures(300, 0), textures(600, 1), textures(300, 2)
    noise = np.random.default_rng(3).normal(0, 8, train.shape)
    noisy = np.clip(train + noise, 0, 255).astype(np.uint8)
    for copies in (train, np.ascontiguousarray(train[:, :, ::-1]), noisy):
        found = rate(copies, train, held_out)
        assert found.generated.hits == len(copies)
        assert found.copies
    honest = rate(new, train, held_out)
    assert not honest.copies
    assert honest.generated.share < 0.05
    assert found.held_out.share < 0.05
    half = rate(np.concatenate([train[:150], new[:150]]), train, held_out)
    assert half.generated.share == pytest.approx(0.5, abs=0.05)


def test_blurred_images_are_near_many_and_are_no_copies() -> None:
    train, held_out = textures(300, 0), textures(600, 1)
    mean = np.stack([train[place : place + 40].mean(0) for place in range(0, 240, 8)]).astype(np.uint8)
    assert rate(mean, train, held_out).generated.hits == 0


def test_the_nearest_are_those_of_a_plain_search() -> None:
    train, images = textures(120, 0), textures(7, 1)
    found = nearest_training_images((as_rows(images),), as_rows(train))
    for place, image in enumerate(images):
        plain = np.sqrt(((train.astype(float) - image) ** 2).mean(axis=(1, 2, 3)))
        order = plain.argsort()
        assert found.places[place].tolist() == order[:50].tolist()
        assert found.distance[place] == pytest.approx(plain[order[0]], rel=1e-3)
        assert found.ratio[place] == pytest.approx(plain[order[0]] / plain[order[:50]].mean(), rel=1e-3)


def test_new_images_come_in_an_order_with_all_classes_in_every_half() -> None:
    data = synthetic(train=30, held_out=60, classes=6)
    order = np.argsort(data.test.labels, kind="stable")
    data = dataclasses.replace(data, test=Split(images=data.test.images[order], labels=data.test.labels[order]))
    mixed = new_images(data)
    for part in (mixed.labels[:6], mixed.labels[:30], mixed.labels[30:]):
        assert np.bincount(part).tolist() == [len(part) // 6] * 6
    assert sorted(map(bytes, mixed.images)) == sorted(map(bytes, data.test.images))


def ten_images() -> ImageDataset:
    data = synthetic(train=30, held_out=30, classes=2)
    train = Split(images=textures(10, 5, 8), labels=np.arange(10, dtype=np.int64) % 2)
    held_out = Split(images=textures(400, 6, 8), labels=np.arange(400, dtype=np.int64) % 2)
    card = dataclasses.replace(data.card, image_size=8)
    return dataclasses.replace(data, card=card, train=train, validation=held_out, test=held_out)


def test_a_generator_that_learned_ten_images_by_heart_is_caught() -> None:
    data = ten_images()
    config = TrainConfig(
        model="flow_unet",
        model_config={"width": 16},
        epochs=250,
        eval_every=250,
        batch_size=10,
        lr=5e-3,
        warmup=0.05,
        precision="float32",
        device="cpu",
    )
    session = TrainSession.start(config, data)
    for _ in train(session):
        pass
    made = make_images(session.eval_model(), data.card, np.arange(40) % 2, seed=1, steps=10, guidance=1.0)
    found = rate(made, data.train.images, data.test.images)
    assert found.copies
    assert found.generated.share > 0.5
    near = nearest_of(session.card("Ten"), made[0], data, "pixels", lambda share, words: None)
    assert near.images.shape == (4, 8, 8, 3)
    assert near.usual > 0.3


def test_too_few_images_to_tell() -> None:
    near = nearest_training_images((as_rows(textures(50, 1)),), as_rows(textures(60, 0)))
    with pytest.raises(LabError, match="200"):
        copy_rate(near, near)
    with pytest.raises(LabError, match="fewer than two"):
        nearest_training_images((as_rows(textures(5, 1)),), as_rows(textures(1, 0)))


def test_the_distance_is_that_of_normal_distributions() -> None:
    torch.manual_seed(0)
    first = torch.randn(4000, 6)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, first + 3) == pytest.approx(6 * 9, rel=1e-6)
    assert frechet_distance(first, 2 * (first - first.mean(0)) + first.mean(0)) == pytest.approx(6, rel=0.05)
    mixing = torch.randn(6, 6)
    one, other = first @ mixing, torch.randn(4000, 6) @ mixing
    floor = frechet_distance(one, other)
    assert floor < 0.1 < frechet_distance(one, torch.randn(4000, 6))
    with pytest.raises(LabError, match="20"):
        frechet_distance(first[:10], first)


def test_it_agrees_with_the_matrix_square_root() -> None:
    import scipy.linalg

    random = np.random.default_rng(0)
    first, second = random.normal(size=(500, 5)) @ random.normal(size=(5, 5)), random.normal(1, 2, (500, 5))
    one, other = np.cov(first.T), np.cov(second.T)
    root = scipy.linalg.sqrtm(one @ other).real
    wanted = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(one + other - 2 * root)
    assert frechet_distance(torch.from_numpy(first), torch.from_numpy(second)) == pytest.approx(wanted, rel=1e-6)


def test_the_images_that_a_generator_saw_and_the_sheet_of_classes() -> None:
    data = synthetic(train=80, held_out=40, classes=4)
    session = TrainSession.start(TrainConfig(model="flow_unet", model_config={"width": 16}, train_images=20), data)
    saw = training_images(session.card("Some"), data)
    assert np.array_equal(saw.images, session.task.train.images)  # type: ignore[attr-defined]
    sheet = from_png(class_sheet(data.test.images, data.test.labels, 4))
    first = np.flatnonzero(data.test.labels == 2)[:2]
    assert np.array_equal(sheet[32:64, 64:96], data.test.images[first[1]])
