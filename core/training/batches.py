"""Training images as they live on the device: uint8, augmented and normalised there, a batch in one gather.

Order and augmentation derive from (seed, epoch) on the CPU generator, so they are the same on every device and for a
resumed run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.data.dataset import ImageCard, Split
from core.training.augmentation import apply_pipeline, parse_pipeline
from core.training.augmix import VIEWS, add_noise, augmix
from core.training.auto_augment import trivial_augment
from core.training.config import TrainConfig
from core.training.mixing import mixup_cutmix

AUTO_AUGMENT_STREAM, MIXING_STREAM, AUGMIX_STREAM, SECOND_VIEW_STREAM, PIPELINE_STREAM, NOISE_STREAM = 1, 2, 3, 4, 5, 6
"""Draws that came later than order, flips, crops and cutout have streams of their own: those stay what they were."""


class DeviceImages:
    """One split on one device. images: (N, H, W, 3) uint8; labels: (N,) int64."""

    def __init__(self, split: Split, card: ImageCard, device: str, dtype: torch.dtype = torch.float32) -> None:
        self.images = torch.from_numpy(np.require(split.images, requirements=["C", "W"])).to(device)
        self.labels = torch.from_numpy(np.require(split.labels, requirements=["C", "W"])).to(device)
        self.scale = (1.0 / (255.0 * torch.tensor(card.std))).to(device)
        self.shift = (torch.tensor(card.mean) / torch.tensor(card.std)).to(device)
        self.dtype = dtype
        self.classes = len(card.classes)

    def __len__(self) -> int:
        return len(self.labels)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 to (N, 3, H, W) normalised, in channels_last memory order."""
        return (pixels * self.scale - self.shift).to(self.dtype).permute(0, 3, 1, 2)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, not augmented: (n, 3, H, W) and (n,)."""
        for start in range(0, len(self), size):
            yield self.normalise(self.images[start : start + size]), self.labels[start : start + size]


def epoch_batches(
    data: DeviceImages, config: TrainConfig, epoch: int, batch_size: int, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches `first`, `first`+1, … of an epoch; a last, smaller batch is dropped. Yields (B, 3, H, W) and (B,),
    with mixup or cutmix (B, classes); with consistency (B, 3 views, 3, H, W), the image as it is first."""
    total, side = len(data), data.images.shape[1]
    device = data.images.device
    random = torch.Generator().manual_seed(derive_seed(config.seed, epoch))
    order = drawn_order(data.labels, config.balance, random)
    shifts = torch.randint(-config.crop_padding, config.crop_padding + 1, (total, 2), generator=random)
    flips = torch.rand(total, generator=random) < 0.5
    if config.flip == "alternating":
        first_flips = torch.rand(total, generator=torch.Generator().manual_seed(derive_seed(config.seed, -1))) < 0.5
        flips = first_flips[order] ^ (epoch % 2 == 1)
    corners = torch.randint(0, side, (total, 2), generator=random) - config.cutout // 2
    # Elsewhere than on CUDA, a copy that is not waited for may read memory that was given back already.
    at_once = device.type == "cuda"
    order, shifts, flips, corners = (t.to(device, non_blocking=at_once) for t in (order, shifts, flips, corners))
    pixels = torch.arange(side, device=device)
    for index in range(first, total // batch_size):
        part = slice(index * batch_size, (index + 1) * batch_size)
        chosen = order[part]
        rows = pixels.expand(len(chosen), side)
        columns = pixels.expand(len(chosen), side)
        if config.flip != "none":
            columns = torch.where(flips[part, None], side - 1 - columns, columns)
        if config.crop_padding:
            rows = _reflect(rows + shifts[part, :1], side)
            columns = _reflect(columns + shifts[part, 1:], side)
        flat = (chosen[:, None, None] * side + rows[:, :, None]) * side + columns[:, None, :]  # (B, H, W)
        chosen_pixels = data.images.view(-1, 3)[flat]  # (B, H, W, 3)
        place = (config.seed, epoch, index)
        chosen_pixels = _augment(chosen_pixels, config, place)
        if config.noise:
            chosen_pixels = add_noise(chosen_pixels, config.noise, batch_seed(*place, NOISE_STREAM))
        images, targets = data.normalise(chosen_pixels), data.labels[chosen]
        if config.cutout:
            inside = (pixels >= corners[part, :, None]) & (pixels < corners[part, :, None] + config.cutout)  # (B, 2, S)
            inside = inside.repeat(len(images) // len(chosen), 1, 1)
            # Not masked_fill, which would lose the memory order.
            images = torch.where((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], 0, images)
        if config.mixup or config.cutmix:
            labels, seed = F.one_hot(targets, data.classes).float(), batch_seed(*place, MIXING_STREAM)
            # All views of an image are mixed with the same one, by the same share.
            mixed = [
                mixup_cutmix(part, labels, mixup=config.mixup, cutmix=config.cutmix, seed=seed)
                for part in images.split(len(chosen))
            ]
            images, targets = torch.cat([part for part, _ in mixed]), mixed[0][1]
        if config.consistency:
            images = images.unflatten(0, (VIEWS, len(chosen))).transpose(0, 1)
        yield images, targets


def _augment(pixels: Tensor, config: TrainConfig, place: tuple[int, int, int]) -> Tensor:
    """pixels: (B, H, W, 3) uint8; returns the same, with consistency (3 B, H, W, 3), view after view."""
    if config.auto_augment != "none":
        pixels = trivial_augment(pixels, batch_seed(*place, AUTO_AUGMENT_STREAM))
    if config.augmentation:
        pixels = apply_pipeline(pixels, parse_pipeline(config.augmentation), batch_seed(*place, PIPELINE_STREAM))
    if not config.augmix:
        return pixels
    streams = (AUGMIX_STREAM, SECOND_VIEW_STREAM) if config.consistency else (AUGMIX_STREAM,)
    views = [augmix(pixels, batch_seed(*place, stream), config.augmix) for stream in streams]
    return torch.cat([pixels, *views]) if config.consistency else views[0]


def epoch_order(total: int, random: torch.Generator) -> Tensor:
    """The epoch's order of images, (total,): the first draw of its generator, so it is the same whatever else is on."""
    return torch.randperm(total, generator=random)


def drawn_order(labels: Tensor, balance: str, random: torch.Generator) -> Tensor:
    """The images of an epoch, (total,). With `sampling` they are drawn with replacement, every class equally often on average
    (torch.utils.data.WeightedRandomSampler); otherwise each comes once."""
    if balance != "sampling":
        return epoch_order(len(labels), random)
    counts = torch.bincount(labels.cpu())
    return torch.multinomial(1.0 / counts[labels.cpu()].double(), len(labels), replacement=True, generator=random)


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """(classes,) float32: of each class in the loss, N / (classes with images × its images), so that the mean over images is 1;
    0 for a class without images."""
    counts = torch.bincount(labels, minlength=classes)
    weights = len(labels) / ((counts > 0).sum() * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0)


def _reflect(index: Tensor, side: int) -> Tensor:
    """Mirror indices that fall off the image back into it, border pixel not repeated."""
    index = index.abs()
    return torch.where(index > side - 1, 2 * (side - 1) - index, index)


def batch_seed(seed: int, epoch: int, index: int, stream: int) -> int:
    """A seed for one kind of draw of one batch."""
    return derive_seed(derive_seed(derive_seed(seed, epoch), index), stream)


def derive_seed(seed: int, epoch: int) -> int:
    """One well-spread 63-bit seed from two small numbers (the mixing step of splitmix64)."""
    value = (seed * 0x9E3779B97F4A7C15 + (epoch + 2) * 0xD1B54A32D192ED03) & (2**64 - 1)
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (value ^ (value >> 31)) >> 1
