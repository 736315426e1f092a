"""Pipelines of transforms: how they are written, and that the trainer sees what torchvision makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from core.common.errors import LabError
from core.training.augmentation import MOST_STEPS, TRANSFORMS, Pipeline, Step, apply_pipeline, parse_pipeline
from core.training.batches import PIPELINE_STREAM, DeviceImages, batch_seed, epoch_batches
from core.training.config import TrainConfig
from core.training.estimate import AUTO_AUGMENT_SECONDS, guessed_speed
from core.training.preview import augmented_pixels
from tests.unit.builders import synthetic

DATA = synthetic(train=60)
PIXELS = torch.from_numpy(DATA.train.images[:12].copy())
MIXED = "flip@0.5 crop:0.25@0.8 rotate:0.4@0.5 hue:0.3 erase:0.5@0.5 posterize:0.6@0.3"
STRONGEST = [f"{name}:1" if kind.has_strength else name for name, kind in TRANSFORMS.items()]
"""Each transform at its strongest."""


def run_code(code: str) -> Any:
    """What the code that people copy calls `augment`."""
    names: dict[str, Any] = {}
    exec(code, names)
    return names["augment"]


def applied(text: str, seed: int = 0, pixels: torch.Tensor = PIXELS) -> torch.Tensor:
    return apply_pipeline(pixels, parse_pipeline(text), seed)


@pytest.mark.parametrize("name", [name for name, kind in TRANSFORMS.items() if kind.has_strength])
def test_strength_0_and_probability_0_are_the_identity(name: str) -> None:
    for text in (f"{name}:0", f"{name}:1@0"):
        assert torch.equal(applied(text), PIXELS)
        assert parse_pipeline(text).idle
        assert torch.equal(run_code(parse_pipeline(text).code(32))(PIXELS), PIXELS)
    assert not torch.equal(applied(f"{name}:1"), PIXELS)


@pytest.mark.parametrize("text", [*STRONGEST, MIXED])
def test_the_code_to_copy_gives_the_same_images(text: str) -> None:
    """Image by image after the same seed, in plain torchvision. What draws nothing is computed for all images at once."""
    augment = run_code(parse_pipeline(text).code(32))
    torch.manual_seed(7)
    expected = torch.stack([augment(image) for image in PIXELS.permute(0, 3, 1, 2)]).permute(0, 2, 3, 1)
    found = applied(text, 7)
    assert torch.equal(found, expected)
    assert (found.dtype, found.shape) == (torch.uint8, PIXELS.shape)


@pytest.mark.parametrize("text", ["flip", "flip posterize:0.5", MIXED])
def test_the_global_generator_is_left_as_it_was(text: str) -> None:
    state = torch.get_rng_state()
    applied(text)
    assert torch.equal(torch.get_rng_state(), state)


def test_transforms_with_a_closed_form() -> None:
    values = PIXELS.int()
    assert torch.equal(applied("flip"), PIXELS.flip(2))
    assert torch.equal(applied("flip_vertical"), PIXELS.flip(1))
    assert torch.equal(applied("invert").int(), 255 - values)
    assert torch.equal(applied("solarize:1"), applied("invert"))
    assert torch.equal(applied("solarize:0.5").int(), torch.where(values >= 128, 255 - values, values))
    assert torch.equal(applied("posterize:1").int(), values // 128 * 128)
    assert torch.equal(applied("flip invert flip"), applied("invert"))
    gray = applied("grayscale")
    assert torch.equal(gray[..., 0], gray[..., 1])
    shifts = applied("crop:1", pixels=PIXELS[:1])[0].numpy()
    padded = np.pad(PIXELS[0].numpy(), ((8, 8), (8, 8), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (32, 32), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    assert (windows == shifts).all(axis=(2, 3, 4)).sum() >= 1


def test_the_order_of_steps_matters() -> None:
    assert not torch.equal(applied("solarize:0.6 invert"), applied("invert solarize:0.6"))


def test_draws_depend_on_the_seed_and_leave_torch_alone() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (applied(MIXED, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    same = applied("rotate:0.5", pixels=PIXELS[:1].repeat(6, 1, 1, 1))
    assert len({image.numpy().tobytes() for image in same}) == 6, "each image has draws of its own"


def test_half_of_the_images_are_flipped() -> None:
    many = PIXELS[:1].repeat(400, 1, 1, 1)
    flipped = (applied("flip@0.5", pixels=many) != many).flatten(1).any(1)
    assert 150 < int(flipped.sum()) < 250


def epoch(config: TrainConfig, number: int = 0, first: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    data = DeviceImages(DATA.train, DATA.card, "cpu")
    return list(epoch_batches(data, config, number, config.batch_size, first))


def test_the_trainer_and_the_preview_use_the_pipeline() -> None:
    config = TrainConfig(batch_size=20, augmentation=MIXED, seed=4)
    plain = epoch(config.replace(augmentation=""), 2)
    for index, ((images, labels), (before, same)) in enumerate(zip(epoch(config, 2), plain, strict=True)):
        assert torch.equal(labels, same)
        data = DeviceImages(DATA.train, DATA.card, "cpu")
        raw = ((before.permute(0, 2, 3, 1) + data.shift) / data.scale).round().to(torch.uint8)
        seed = batch_seed(4, 2, index, PIPELINE_STREAM)
        assert torch.equal(images, data.normalise(applied(MIXED, seed, raw)))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(epoch(config, 2)[1:], epoch(config, 2, first=1), strict=True))
    assert not torch.equal(epoch(config, 2)[0][0], epoch(config, 3)[0][0])
    shown, _ = augmented_pixels(
        DATA.train.images[:3], DATA.train.labels[:3], DATA.card, config.replace(augmentation="flip")
    )
    assert np.array_equal(shown, DATA.train.images[:3, :, ::-1])


def test_a_pipeline_is_written_in_one_way() -> None:
    text = " flip@.5  rotate:0.30@1 invert "
    assert parse_pipeline(text).spec == "flip@0.5 rotate:0.3 invert" == TrainConfig(augmentation=text).augmentation
    assert parse_pipeline("rotate").steps == (Step(transform="rotate", strength=0.5, probability=1.0),)
    assert Pipeline.from_dict(parse_pipeline(MIXED).to_dict()) == parse_pipeline(MIXED)
    assert parse_pipeline("flip@0.5 rotate:0.3").words == "Flip at 50%, rotate 0.3"
    assert TrainConfig(augmentation="  ").augmentation == ""
    assert "augmentation" in TrainConfig().to_dict()


MISTAKES = [
    ("", "no steps"),
    ("rotate:1.5", "strength of rotate must be a number from 0 to 1"),
    ("rotate:nan", "strength of rotate"),
    ("rotate:0.5@2", "probability of rotate"),
    ("rotate:0.5@", "probability of rotate"),
    ("flip:0.5", "flip has no strength"),
    ("melt:0.5", "no transform named 'melt'"),
    (" ".join(["flip"] * (MOST_STEPS + 1)), f"at most {MOST_STEPS}"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_mistake_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(LabError, match=words) as found:
        parse_pipeline(text)
    assert str(found.value).count(". ") == 0
    if text:
        with pytest.raises(LabError, match=words):
            TrainConfig(augmentation=text)


def test_an_empty_list_of_steps_is_refused() -> None:
    with pytest.raises(LabError, match="steps"):
        Pipeline(steps=())


def test_estimates_count_the_steps() -> None:
    plain, steps = (guessed_speed(TrainConfig(augmentation=text), "cpu") for text in ("", "flip rotate:0.1"))
    assert 1 / steps == pytest.approx(1 / plain + 2 * AUTO_AUGMENT_SECONDS)
