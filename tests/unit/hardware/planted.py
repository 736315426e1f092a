"""Results with figures that are known, and a machine."""

from __future__ import annotations

from core.hardware.config import HardwareConfig
from core.hardware.machine import Machine
from core.hardware.results import HardwareResult, LayerPoint, Roofline, Row
from core.hardware.setups import Setup

MACHINE = Machine(
    processor="AMD EPYC",
    cores=2,
    memory_bytes=8 * 10**9,
    features=("avx2",),
    gpus=(),
    system="Linux x86_64",
    versions={"torch": "2.15.0"},
)
CONFIG = HardwareConfig(threads=(1, 2), precisions=("float32", "int8"), runtimes=("eager", "compile", "onnx"), rounds=5)
REFERENCE_MS = (100.0, 101.0, 99.0, 100.5, 99.5)


def cell(**changes: object) -> Setup:
    """PyTorch in float32 with two threads, with these changes."""
    usual = {
        "work": "inference",
        "device": "cpu",
        "precision": "float32",
        "runtime": "eager",
        "threads": 2,
        "memory_format": "contiguous",
        "batch_size": 64,
    }
    return Setup(**usual | changes)  # type: ignore[arg-type]


def row(speed: float = 1.0, lost: int = 0, gained: int = 0, start_s: float = 1.0, **changes: object) -> Row:
    """A cell that is so many times as fast, give or take 1%."""
    times = tuple(ms / speed for ms in reversed(REFERENCE_MS))
    return Row(
        setup=cell(**changes),
        round_ms=times if speed != 1 else REFERENCE_MS,
        reference_ms=REFERENCE_MS,
        p50_ms=times[2],
        p95_ms=max(times),
        memory_bytes=10**8,
        start_s=start_s,
        right=400 - lost + gained,
        images=500,
        lost=lost,
        gained=gained,
        logit_difference=0.001,
    )


def result(*rows: Row, machine: Machine = MACHINE, config: HardwareConfig = CONFIG) -> HardwareResult:
    """With these rows after the reference."""
    return HardwareResult(config=config, title="Simple CNN", machine=machine, rows=(row(), *rows), roofline=ROOFLINE)


ROOFLINE = Roofline(
    gflops_per_s=100.0,
    gbytes_per_s=10.0,
    threads=2,
    batch_size=64,
    layers=(
        LayerPoint(name="conv1", kind="conv", flops=4_000_000, bytes=100_000, ms=0.08),
        LayerPoint(name="relu1", kind="activation", flops=100_000, bytes=1_000_000, ms=0.2),
    ),
)
"""The first at half of the flat roof, the second at half of the slope."""
