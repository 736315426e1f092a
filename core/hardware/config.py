"""What a grid measures: one checkpoint, and the settings that are crossed with each other."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from core.common.devices import cores
from core.common.errors import LabError
from core.common.settings import List, Name, Seed, Settings
from core.hardware.setups import MOST_BATCH, MOST_THREADS, Setup, reference_of, unique
from core.models import MODELS
from core.training.config import check_device

MOST_CELLS = 200
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]
Batch = Annotated[int, Field(ge=1, le=MOST_BATCH)]


def _check_cell_device(name: str) -> str:
    if check_device(name) == "auto":
        raise LabError("device='auto' is not valid: name the devices to compare, as in cpu,cuda.")
    return name


def default_threads() -> tuple[int, ...]:
    """One, and all cores."""
    return tuple(sorted({1, min(cores(), MOST_THREADS)}))


class HardwareConfig(Settings):
    """Raises LabError for an empty choice, or more cells than anyone waits for."""

    checkpoint: Name = "simple_cnn"
    """An image classifier, as listed by: python -m core checkpoints."""
    works: Annotated[tuple[Literal["inference", "training"], ...], List] = ("inference", "training")
    """`inference`, `training`, or both."""
    devices: Annotated[tuple[Annotated[str, AfterValidator(_check_cell_device)], ...], List] = ("cpu",)
    """Devices to compare. The first one is where the default of the comparison runs."""
    precisions: Annotated[tuple[Literal["float32", "bfloat16", "float16", "int8"], ...], List] = ("float32", "int8")
    """Arithmetic. int8 is for ONNX Runtime alone."""
    runtimes: Annotated[tuple[Literal["eager", "compile", "onnx"], ...], List] = ("eager", "compile", "onnx")
    """`eager` is PyTorch without compiling."""
    threads: Annotated[tuple[Threads, ...], List] = Field(default_factory=default_threads)
    """Processor threads. The largest number is what the default of the comparison has."""
    formats: Annotated[tuple[Literal["contiguous", "channels_last"], ...], List] = ("contiguous", "channels_last")
    """Memory layouts for inference in PyTorch. The lab always trains in channels last."""
    batch_sizes: Annotated[tuple[Batch, ...], List] = (64,)
    """Images of one call in inference."""
    training_batch: Batch = 128
    """Images of one training step."""
    rounds: Annotated[int, Field(ge=3, le=50)] = 5
    """How often each cell is measured, in turn with the others."""
    images: Annotated[int, Field(ge=10, le=10_000)] = 500
    """Test images for accuracy and logits, the same for all cells."""
    limit_s: Annotated[int, Field(ge=5, le=3600)] = 180
    """Seconds after which a cell that does not answer is given up."""
    roofline: bool = True
    """Also measure the peaks of the processor and time each layer."""
    seed: Seed = 0
    """Draws the test images."""
    model: Literal[tuple(MODELS)] = "simple_cnn"  # type: ignore[valid-type]
    """Architecture of the checkpoint, for lists of runs."""
    dataset: Name = "cifar10"
    """What the checkpoint was trained on, for lists of runs."""
    fingerprint: str = ""
    """Of the checkpoint, so that a grid belongs to just these weights."""

    @model_validator(mode="after")
    def _check(self) -> HardwareConfig:
        for name in ("works", "devices", "precisions", "runtimes", "threads", "formats", "batch_sizes"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise LabError(f"{name} is not valid: give at least one value, each once.")
        if len(self.setups) > MOST_CELLS:
            raise LabError(f"This grid has {len(self.setups):,} cells: choose fewer settings, {MOST_CELLS} at most.")
        return self

    @property
    def setups(self) -> tuple[Setup, ...]:
        """All cells, those of a group after each other, its reference first."""
        return unique(
            setup
            for work in self.works
            for batch in (self.batch_sizes if work == "inference" else (self.training_batch,))
            for setup in self._group(work, batch)
        )

    def _group(self, work: str, batch: int) -> tuple[Setup, ...]:
        formats = self.formats if work == "inference" else ("channels_last",)
        axes = (self.devices, self.precisions, self.runtimes, self.threads, formats)
        found = [
            Setup(
                work=work,
                device=device,
                precision=precision,
                runtime=runtime,
                threads=threads if device == "cpu" else max(self.threads),
                memory_format="contiguous" if runtime == "onnx" else memory_format,
                batch_size=batch,
            )
            for device, precision, runtime, threads, memory_format in itertools.product(*axes)
        ]
        return (self.reference(found[0]), *found)

    def reference(self, setup: Setup) -> Setup:
        """What a cell is compared with."""
        return reference_of(setup, self.devices[0], max(self.threads))

    @property
    def parts(self) -> int:
        """Cells, and the roofline."""
        return len(self.setups) + self.roofline
