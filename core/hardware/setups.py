"""The cells of a grid: what is measured in one process. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.common.values import plural

WORKS = {"inference": "Inference", "training": "Training"}
PRECISIONS = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16", "int8": "int8"}
RUNTIMES = {"eager": "PyTorch", "compile": "torch.compile", "onnx": "ONNX Runtime"}
FORMATS = {"contiguous": "contiguous", "channels_last": "channels last"}
CHOICES = {"work": WORKS, "precision": PRECISIONS, "runtime": RUNTIMES, "memory_format": FORMATS}
MOST_THREADS, MOST_BATCH = 256, 4096
WARM_STEPS = 5
"""Training steps before the accuracy is taken, so that a precision that breaks training shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """One cell. Its fields are plain values, as a result file has them."""

    work: str
    device: str
    precision: str
    runtime: str
    threads: int
    memory_format: str
    batch_size: int
    """Images of one call; of training, of one optimizer step."""

    @property
    def id(self) -> str:
        """Names its folder and file."""
        device = self.device.replace(":", "")
        parts = (self.work, device, self.precision, self.runtime, self.threads, self.memory_format, self.batch_size)
        return "-".join(map(str, parts))

    @property
    def group(self) -> tuple[str, int]:
        """Cells of one group are compared with each other: they do the same work."""
        return self.work, self.batch_size

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"

    @property
    def kind(self) -> str:
        """`ONNX Runtime, int8`."""
        return RUNTIMES[self.runtime] + ("" if self.precision == "float32" else f", {self.precision}")

    @property
    def where(self) -> str:
        """`2 threads`, or the device."""
        return plural(self.threads, "thread") if self.on_cpu else self.device

    @property
    def words(self) -> str:
        """`ONNX Runtime, int8, 2 threads`."""
        layout = "" if self.memory_format == "contiguous" else f", {FORMATS[self.memory_format]}"
        return f"{self.kind}{layout}, {self.where}"

    @classmethod
    def from_dict(cls, values: Any) -> Setup:
        """Raises ValueError or TypeError for what is no cell."""
        setup = cls(**values)
        known = all(getattr(setup, name) in choices for name, choices in CHOICES.items())
        counts = ((setup.threads, MOST_THREADS), (setup.batch_size, MOST_BATCH))
        if not known or not all(type(count) is int and 1 <= count <= most for count, most in counts):
            raise ValueError("no such setting")
        if not isinstance(setup.device, str) or not setup.device.replace(":", "").isalnum():
            raise ValueError("no such device")
        return setup


def is_possible(setup: Setup) -> bool:
    """Whether there is such a thing: ONNX Runtime answers on the processor, in float32 or int8, and chooses its own layout;
    PyTorch has no int8 here; the lab trains in channels last."""
    if setup.runtime == "onnx":
        plain = setup.memory_format == "contiguous" and setup.on_cpu
        return plain and setup.work == "inference" and setup.precision in ("float32", "int8")
    if setup.precision == "int8":
        return False
    return setup.work == "inference" or setup.memory_format == "channels_last"


def reference_of(setup: Setup, device: str, threads: int) -> Setup:
    """What a cell is compared with: PyTorch as it is without any of these settings, with the same batch."""
    return Setup(
        work=setup.work,
        device=device,
        precision="float32",
        runtime="eager",
        threads=threads,
        memory_format="channels_last" if setup.work == "training" else "contiguous",
        batch_size=setup.batch_size,
    )


def changes(setup: Setup, reference: Setup) -> int:
    """How many settings differ."""
    names = (field.name for field in dataclasses.fields(Setup))
    return sum(getattr(setup, name) != getattr(reference, name) for name in names)


def unique(setups: Iterator[Setup]) -> tuple[Setup, ...]:
    """In order, each once, without those that there are not."""
    return tuple(dict.fromkeys(setup for setup in setups if is_possible(setup)))
