"""What a reader of a measurement must be told in words."""

from __future__ import annotations

from collections.abc import Mapping

from core.checkpoints import Card
from core.compression.results import Latency
from core.models import MODELS

NOISE = 0.95
"""A speedup below this is told: medians of two runs of one network differ by less."""
MANY_ZEROS = 0.1
PLACES = {
    "torch_b1": "in PyTorch at batch 1",
    "torch_b64": "in PyTorch at batch 64",
    "onnx_b1": "in ONNX Runtime at batch 1",
    "onnx_b64": "in ONNX Runtime at batch 64",
}
"""Words for SUBJECTS."""


def slower(latency_ms: Mapping[str, Latency]) -> list[str]:
    """A sentence for every runtime and batch size at which it is slower than the original, beyond noise."""
    return [slower_words(PLACES[name], found.speedup) for name, found in latency_ms.items() if found.speedup < NOISE]


def slower_words(place: str, speedup: float) -> str:
    """`Slower than the original in PyTorch at batch 1: 0.80 times as fast.`"""
    return f"Slower than the original {place}: {speedup:.2f} times as fast."


def about_zeros(zeros: float) -> list[str]:
    """That zeros cost as much as other weights, where there are many."""
    if zeros <= MANY_ZEROS:
        return []
    return [f"{zeros:.0%} of its weights are zero, and they are multiplied all the same: that makes nothing faster."]


def about_storage(card: Card, has_onnx: bool) -> list[str]:
    """What runs, where it is not what the file holds."""
    if has_onnx:
        return ["8 bits are for ONNX Runtime: in PyTorch it computes in float32, with weights that were rounded."]
    if card.storage == "float32" or runs_in_int8(card):
        return []
    return ["Only its stored file is smaller: to run, its weights become float32 again."]


def runs_in_int8(card: Card) -> bool:
    """Whether it is a language model that writes in 8 bits (see core.generation.stepping)."""
    return card.storage == "int8" and MODELS[card.model].recurrent
