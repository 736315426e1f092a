"""What an answer costs, measured on a few images: for the time that a page states before something long starts.

Processor time of one thread, because what else the machine does just now says nothing of the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from core.checkpoints.store import Checkpoint
from core.inference.images import logits_of
from core.models import images_at_once

TRIAL = 24
"""Images that are answered."""
TRIAL_PIXELS = 32 * 32 * 32
"""Of the images that are changed."""


def processor_seconds(work: Callable[[], object]) -> float:
    """Of this thread. Call `work` once before: a first time builds kernels and memory pools."""
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def trial_images(side: int, count: int | None = None) -> np.ndarray:
    """(N, side, side, 3) uint8 of random pixels. count: None for as many as TRIAL_PIXELS allow, at least 2."""
    count = max(2, TRIAL_PIXELS // side**2) if count is None else count
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def answer_seconds(checkpoint: Checkpoint) -> float:
    """Processor seconds that an image takes in one view, where one thread computes."""
    card = checkpoint.card
    images = trial_images(card.image_data.image_size, images_at_once(card.model_config, TRIAL))
    logits_of(checkpoint, images, "none")
    return processor_seconds(lambda: logits_of(checkpoint, images, "none")) / len(images)
