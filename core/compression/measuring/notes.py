"""Notes on a measurement: what got slower, what zeros and storage do not buy, what may help."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.checkpoints.store import Card
from core.compression.measuring.significance import mcnemar
from core.compression.results import Latency
from core.compression.steps import STEPS, TrainQuantized
from core.inference.sampling import runs_in_int8

NOTICEABLE = 0.95
"""A speedup below this is reported as slower, if it is significant."""
SURE = 0.01
"""Largest p value of a sign test over the rounds that counts as significant."""
SCATTER = 2.0
"""p95 over p50 above which times are called scattered, because something else used the processor."""
MANY_ZEROS = 0.1
MUCH_LOST = 0.5
"""Percentage points that an int8 network may lose before a remedy is named."""
PLACES = {
    "torch_b1": "in PyTorch at batch 1",
    "torch_b64": "in PyTorch at batch 64",
    "onnx_b1": "in ONNX Runtime at batch 1",
    "onnx_b64": "in ONNX Runtime at batch 64",
}
"""Words for SUBJECTS."""


def slower(place: str, own: np.ndarray, original: np.ndarray) -> list[str]:
    """`Slower than the original in PyTorch at batch 1: 0.80 times as fast.`, where it is, beyond noise.

    place: where, in words. own, original: (rounds,) times of the same work in the same rounds.
    """
    speedup = float(np.median(original) / np.median(own))
    worse = int((own > original).sum())
    # McNemar's exact test is the sign test of the disagreements, so it serves for rounds as well.
    if speedup >= NOTICEABLE or mcnemar(worse, len(own) - worse) > SURE:
        return []
    return [f"Slower than the original {place}: {speedup:.2f} times as fast."]


def busy(latency_ms: Mapping[str, Latency]) -> list[str]:
    """A warning where times scatter."""
    places = [PLACES[name] for name, found in latency_ms.items() if found.p95 > SCATTER * found.p50]
    if not places:
        return []
    return [
        f"Something else used the processor, so times scatter {', '.join(places)}: measure again on a quiet machine."
    ]


def about_zeros(zeros: float) -> list[str]:
    """That many zeros make nothing faster."""
    if zeros <= MANY_ZEROS:
        return []
    return [f"{zeros:.0%} of its weights are zero, and they are multiplied all the same: that makes nothing faster."]


def about_storage(card: Card, in_int8: bool) -> list[str]:
    """In which precision it runs, where that is not the precision of its file."""
    if in_int8:
        return ["8 bits are for ONNX Runtime: in PyTorch it computes in float32, with weights that were rounded."]
    if card.storage == "float32" or runs_in_int8(card):
        return []
    held = {"float16": "in 16 bits", "int8": "in 8 bits"}.get(card.storage, card.storage)
    return [f"Its file holds the weights {held}; to run, they become float32 again, as large and as fast as any."]


def about_int8(card: Card, in_int8: bool, delta_points: float | None) -> list[str]:
    """A remedy for an int8 network for images that loses much accuracy and was not trained for int8."""
    if not in_int8 or delta_points is None or delta_points >= -MUCH_LOST:
        return []
    done = card.compression.get("steps") or ()
    if any(STEPS.get(step.get("step")) is TrainQuantized for step in done):
        return []
    return [
        f"It loses {-delta_points:.2f} points against the original: {TrainQuantized.title.lower()} before int8 may help."
    ]
