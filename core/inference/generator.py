"""Images that a generator makes of noise, for classes, by following its flow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.common.devices import fast_bfloat16
from core.common.errors import LabError
from core.data.dataset import ImageCard
from core.inference.flow import guide, integrate

AT_ONCE = 100
"""Images that go through the network together."""
MOST_STEPS, MOST_GUIDANCE = 100, 10.0


def draw_noise(count: int, image_size: int, seed: int, first: int = 0) -> Tensor:
    """(count, 3, S, S) standard normal: the noises number first, first + 1, … of a seed, each the same whatever the count."""
    shape = (3, image_size, image_size)
    numbers = range(first, first + count)
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed * 1_000_003 + number)) for number in numbers]
    )


def to_pixels(images: Tensor, card: ImageCard) -> np.ndarray:
    """Normalised images (N, 3, S, S) as (N, S, S, 3) uint8; what lies outside the range of colours is cut off."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (card.mean, card.std))
    pixels = (images.float().cpu() * std + mean).clamp(0, 1) * 255
    return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def arithmetic(device: str = "cpu") -> torch.autocast:
    """The precision that images are made in: bfloat16 where that is fast, otherwise float32."""
    kind = device.split(":")[0]
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda" or fast_bfloat16())


def follow(
    model: nn.Module,
    noise: Tensor,
    classes: np.ndarray,
    *,
    steps: int,
    guidance: float,
    amp: Any = None,
) -> Iterator[Tensor]:
    """The way of each noise to its image: yields steps + 1 times (N, 3, S, S). model: a FlowUNet in eval mode.

    classes: (N,), where the number of classes stands for any class. Raises LabError for settings out of range.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise LabError(f"{steps} steps are not valid: take 1 to {MOST_STEPS}.")
    if not 0 <= guidance <= MOST_GUIDANCE:
        raise LabError(f"A guidance of {guidance:g} is not valid: take 0 to {MOST_GUIDANCE:g}.")
    device = next(model.parameters()).device
    any_class: int = model.config.classes  # type: ignore[union-attr, assignment]
    field = guide(model, torch.from_numpy(classes).long().to(device), any_class, guidance)
    with torch.inference_mode(), amp if amp is not None else contextlib.nullcontext():
        yield from integrate(lambda x, t: field(x, t).float(), noise.to(device), steps)


def make_images(
    model: nn.Module,
    card: ImageCard,
    classes: np.ndarray,
    *,
    seed: int,
    steps: int,
    guidance: float,
    amp: Any = None,
    first: int = 0,
    on_images: Callable[[int], None] | None = None,
) -> np.ndarray:
    """(N, S, S, 3) uint8: an image of each class in `classes` (N,). The i-th is made of noise number first + i of the seed.

    on_images: told how many are made; may raise to stop.
    """
    amp = arithmetic(str(next(model.parameters()).device)) if amp is None else amp
    made = []
    for start in range(0, len(classes), AT_ONCE):
        part = classes[start : start + AT_ONCE]
        noise = draw_noise(len(part), card.image_size, seed, first + start)
        *_, last = follow(model, noise, part, steps=steps, guidance=guidance, amp=amp)
        made.append(to_pixels(last, card))
        if on_images:
            on_images(start + len(part))
    return np.concatenate(made)
