"""What a pipeline does to a network: against counts by hand, and a transform that is planted to swap the classes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.augmentation.config import MapConfig
from core.augmentation.effect import EffectMeter, check_content
from core.augmentation.results import EffectMap, TransformEffects
from core.common.errors import LabError
from core.common.pixels import from_png
from core.compression.measuring.significance import paired_interval
from core.data.dataset import ImageDataset, Split
from core.inference.images import logits_of
from core.training.augmentation import TRANSFORMS, parse_pipeline
from core.training.config import TrainConfig
from core.training.preview import augmented_pixels
from tests.unit.augmentation.orientation import CLASSES, oriented, toy


@pytest.fixture(scope="module")
def meter() -> EffectMeter:
    found = EffectMeter(toy(), oriented(), images=120, train_images=160)
    assert found.accuracy > 0.95, "the toy can be learned"
    return found


@pytest.mark.parametrize("text", ["", "rotate:0", "flip@0 crop:0"])
def test_the_identity_has_neither_affinity_nor_added_loss(meter: EffectMeter, text: str) -> None:
    effect = meter.measure(text)
    assert (effect.affinity, effect.added_loss) == (0.0, 0.0)
    assert [item.points for item in effect.classes] == [0.0, 0.0]
    assert effect.accuracy == meter.accuracy
    assert np.array_equal(from_png(effect.image), oriented().test.images[0])


def test_a_transform_that_swaps_the_classes_is_found_and_others_are_not(meter: EffectMeter) -> None:
    config = MapConfig(transforms=("flip", "flip_vertical", "posterize"), strengths=(0.2,))
    specs = [pipeline.spec for name in config.transforms for pipeline in config.pipelines(name)]
    effects = dict(zip(specs, meter.measure_all(specs, config.points), strict=True))
    assert effects["flip_vertical"].affinity == pytest.approx(100 * (1 - 2 * meter.accuracy), abs=6)
    assert effects["flip_vertical"].added_loss > 1
    assert all(item.hidden for item in effects["flip_vertical"].classes)
    assert not any(item.hidden for item in effects["flip"].classes)
    parts = tuple(
        TransformEffects(transform=name, accuracy=meter.accuracy, effects=(effects[config.pipelines(name)[0].spec],))
        for name in config.transforms
    )
    found = EffectMap(config=config, title="Toy", classes=CLASSES, transforms=parts)
    assert found.answer.startswith("Vertical flip: accuracy on bright")
    assert [words for words, _ in found.hidden] == ["Vertical flip"]
    assert "Flip" in found.safe
    assert "Vertical flip" not in found.safe
    assert EffectMap.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_a_measurement_says_how_far_it_is_and_can_be_ended(meter: EffectMeter) -> None:
    shares: list[float] = []
    meter.measure("flip", report=lambda share, words: shares.append(share))
    assert shares == sorted(set(shares))
    assert (shares[0], shares[-1]) == (0.0, 1 - 1 / len(shares))
    for end in range(len(shares)):  # while images are made, and while the network answers
        seen: list[float] = []

        def report(share: float, words: str, end: int = end, seen: list[float] = seen) -> None:
            seen.append(share)
            if len(seen) > end:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            meter.measure("flip", report=report)
        assert seen == shares[: end + 1]


def test_figures_are_those_counted_by_hand(meter: EffectMeter) -> None:
    """On the images that the trainer's preview gives for the same seed and epoch."""
    text, data = "rotate:0.6 brightness:0.8", oriented()
    effect = meter.measure(text)
    images, labels = augmented_pixels(data.test.images, data.test.labels, data.card, TrainConfig(augmentation=text))
    before, after = (
        (logits_of(toy(), pixels, "none").argmax(1).numpy() == labels) for pixels in (data.test.images, images)
    )
    assert effect.accuracy == after.mean()
    assert effect.affinity == pytest.approx(100 * (after.mean() - before.mean()))
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    assert (effect.low, effect.high) == paired_interval(lost, gained, len(labels))
    for place, item in enumerate(effect.classes):
        own = labels == place
        assert item.points == pytest.approx(100 * (after[own].mean() - before[own].mean()))
        assert item.low < item.points < item.high or item.points in (item.low, item.high)
    drawn, own = augmented_pixels(
        data.train.images, data.train.labels, data.card, TrainConfig(augmentation=text), 10**6
    )
    losses = [
        float(F.cross_entropy(logits_of(toy(), pixels, "none"), torch.from_numpy(own)))
        for pixels in (drawn, data.train.images)
    ]
    assert effect.added_loss == pytest.approx(losses[0] - losses[1], rel=1e-4)


def test_the_same_seed_gives_the_same_figures(meter: EffectMeter) -> None:
    same, other = (
        EffectMeter(toy(), oriented(), images=120, train_images=160, seed=seed).measure("rotate:0.6@0.5")
        for seed in (0, 1)
    )
    assert same == meter.measure("rotate:0.6@0.5")
    assert same.image != other.image or same.added_loss != other.added_loss


def test_intervals_of_more_comparisons_are_wider(meter: EffectMeter) -> None:
    few, many = (meter.measure("rotate:0.6", comparisons=count).classes[0] for count in (1, 60))
    assert many.low < few.low
    assert many.points == few.points


def without(data: ImageDataset, **changes: object) -> ImageDataset:
    return dataclasses.replace(data, **changes)


EMPTY = Split(images=np.zeros((0, 32, 32, 3), np.uint8), labels=np.zeros(0, np.int64))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: without(data, card=dataclasses.replace(data.card, classes=("only",))), "one class"),
        (lambda data: without(data, test=EMPTY), "no test or no training images"),
        (lambda data: without(data, card=dataclasses.replace(data.card, classes=("a", "b"))), "other classes"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(change: object, words: str) -> None:
    with pytest.raises(LabError, match=words):
        EffectMeter(toy(), change(oriented()), images=100, train_images=100)  # type: ignore[operator]


def test_a_dataset_smaller_than_a_batch_is_measured() -> None:
    data = oriented()
    few = Split(images=data.train.images[:3], labels=data.train.labels[:3])
    effect = EffectMeter(toy(), without(data, train=few, test=few), images=100, train_images=100).measure("flip@0.5")
    assert effect.accuracy in (0, 1 / 3, 2 / 3, 1)


def test_a_pipeline_that_leaves_nothing_is_refused() -> None:
    dark = np.random.default_rng(0).integers(0, 100, (2, 32, 32, 3)).astype(np.uint8)
    data = oriented()
    split = Split(images=dark, labels=np.array([0, 1]))
    with pytest.raises(LabError, match="leaves nothing of the image"):
        EffectMeter(toy(), without(data, test=split), images=10, train_images=10).measure("posterize:1")
    check_content(dark)
    check_content(np.stack([dark[0], np.zeros_like(dark[0])]))


def test_a_map_has_a_pipeline_for_each_strength() -> None:
    config = MapConfig()
    assert config.points == 5 * sum(kind.has_strength for kind in TRANSFORMS.values()) + sum(
        not kind.has_strength for kind in TRANSFORMS.values()
    )
    assert [item.spec for item in config.pipelines("flip")] == ["flip"]
    assert [item.steps[0].strength for item in config.pipelines("hue")] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert all(parse_pipeline(item.spec) == item for name in config.transforms for item in config.pipelines(name))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"transforms": ()}, "at least one"),
        ({"transforms": ("flip", "flip")}, "each once"),
        ({"transforms": ("melt",)}, "no transform named 'melt'"),
        ({"strengths": (0.0,)}, "above 0"),
        ({"strengths": (1.5,)}, "at most 1"),
        ({"images": 3}, "from 10 to"),
    ],
)
def test_settings_of_a_map_are_checked(values: dict[str, object], words: str) -> None:
    with pytest.raises(LabError, match=words):
        MapConfig(**values)
