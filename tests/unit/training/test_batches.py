"""Batches against slow, obvious per-image code."""

from __future__ import annotations

import numpy as np
import torch

from core.training.batches import DeviceImages, derive_seed, epoch_batches
from core.training.config import TrainConfig
from tests.unit.builders import synthetic

DATA = synthetic(train=50)


def pixels(config: TrainConfig, epoch: int, size: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """A whole epoch as uint8 images (N, H, W, 3) and labels, un-normalised again."""
    data = DeviceImages(DATA.train, DATA.card, "cpu")
    parts = list(epoch_batches(data, config, epoch, size))
    images = torch.cat([part[0] for part in parts]).permute(0, 2, 3, 1)
    raw = (images * torch.tensor(DATA.card.std) + torch.tensor(DATA.card.mean)) * 255
    return raw.round().numpy().astype(int), torch.cat([part[1] for part in parts]).numpy()


def test_every_image_once_an_epoch_in_an_order_of_its_own() -> None:
    config = TrainConfig()
    orders = []
    for epoch in (0, 1):
        images, labels = pixels(config, epoch, size=10)
        found = [int(np.flatnonzero((DATA.train.images == image).all(axis=(1, 2, 3)))[0]) for image in images]
        assert sorted(found) == list(range(50))
        assert (labels == DATA.train.labels[found]).all()
        orders.append(found)
    assert orders[0] != orders[1]
    assert (pixels(config, 0)[1] == pixels(config, 0)[1]).all()
    assert (pixels(config.replace(seed=1), 0)[0] != pixels(config, 0)[0]).any()


def test_a_batch_depends_on_seed_epoch_and_place_only() -> None:
    data = DeviceImages(DATA.train, DATA.card, "cpu")
    config = TrainConfig(flip="random", crop_padding=3, cutout=5)
    whole = list(epoch_batches(data, config, 4, 10))
    rest = list(epoch_batches(data, config, 4, 10, first=3))
    assert len(whole) == 5
    assert len(rest) == 2
    for (images, labels), (again, same) in zip(whole[3:], rest, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, same)


def test_the_draws_of_an_epoch_are_what_they_always_were() -> None:
    """Order, shifts, flips and corners, in this order from one generator: what comes later draws elsewhere."""
    config = TrainConfig(seed=3, flip="random", crop_padding=2, cutout=6)
    random = torch.Generator().manual_seed(derive_seed(3, 1))
    order = torch.randperm(50, generator=random).numpy()
    shifts = torch.randint(-2, 3, (50, 2), generator=random).numpy()
    flips = (torch.rand(50, generator=random) < 0.5).numpy()
    corners = torch.randint(0, 32, (50, 2), generator=random).numpy() - 3
    padded = np.pad(DATA.train.images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect").astype(int)
    images, labels = pixels(config, 1)
    hidden = np.rint(np.array(DATA.card.mean) * 255)
    assert (labels == DATA.train.labels[order]).all()
    for image, chosen, (down, right), flip, (top, left) in zip(images, order, shifts, flips, corners, strict=True):
        window = padded[chosen][2 + down : 34 + down, 2 + right : 34 + right]
        expected = (window[:, ::-1] if flip else window).copy()
        expected[max(top, 0) : top + 6, max(left, 0) : left + 6] = hidden
        assert (image == expected).all()


def test_crops_are_shifts_of_the_reflected_image() -> None:
    pad = 4
    images, _ = pixels(TrainConfig(crop_padding=pad, flip="random"), 0)
    padded = np.pad(DATA.train.images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect").astype(int)
    windows = {
        padded[n, top : top + 32, left : left + 32][:, ::step].tobytes()
        for n in range(50)
        for top in range(2 * pad + 1)
        for left in range(2 * pad + 1)
        for step in (1, -1)
    }
    assert all(np.ascontiguousarray(image).tobytes() in windows for image in images)


def test_alternating_flip_shows_both_sides_in_two_epochs() -> None:
    config = TrainConfig(flip="alternating")
    epochs = [{image.tobytes() for image in pixels(config, epoch)[0]} for epoch in (0, 1, 2)]
    assert epochs[0] == epochs[2]
    assert not epochs[0] & epochs[1]
    originals = {image.astype(int).tobytes() for image in DATA.train.images}
    mirrored = {np.ascontiguousarray(image[:, ::-1]).astype(int).tobytes() for image in DATA.train.images}
    assert epochs[0] | epochs[1] == originals | mirrored
    assert 10 < len(epochs[0] & originals) < 40


def test_cutout_hides_one_square_at_most_of_the_stated_size() -> None:
    data = DeviceImages(DATA.train, DATA.card, "cpu")
    plain = next(epoch_batches(data, TrainConfig(), 0, 50))[0]
    cut = next(epoch_batches(data, TrainConfig(cutout=8), 0, 50))[0]
    changed = (plain != cut).any(dim=1)  # (B, H, W)
    for mask in changed:
        rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
        height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
        assert 4 <= height <= 8
        assert 4 <= width <= 8
        assert int(mask.sum()) >= 0.9 * height * width  # a pixel may happen to equal the mean
    assert (cut[changed[:, None].expand_as(cut)] == 0).all()


def test_normalised_training_images_have_mean_zero_and_unit_variance() -> None:
    from dataclasses import replace

    values = DATA.train.images / 255.0
    card = replace(DATA.card, mean=tuple(values.mean(axis=(0, 1, 2))), std=tuple(values.std(axis=(0, 1, 2))))
    data = DeviceImages(DATA.train, card, "cpu")
    images = torch.cat([part for part, _ in data.chunks(7)])
    assert images.shape == (50, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(images.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3)
