"""What a cell will bring, said before it is measured: a range of speeds out of what the processor has.

Rules of thumb. Their sources: PyTorch's notes on automatic mixed precision (bfloat16 on a processor wants AVX-512), reports to
PyTorch of matrix products that take 44 to 499 times as long in bfloat16 without such instructions, ONNX Runtime's guide to
quantization (int8 wants VNNI), and NVIDIA's table of compute capabilities. The page shows how often they were right.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.compression.analysis import times as usual_times
from core.hardware.machine import Machine
from core.hardware.setups import Setup

Range = tuple[float, float]
"""Times as fast, at least and at most."""
SLOW_LIMIT_S = 20.0
"""What a cell gets that is expected to be slow."""
EMULATED: Range = (1 / 500, 0.8)
FORMAT: Range = (0.8, 2.5)
COMPILE: dict[str, Range] = {"inference": (0.7, 2.5), "training": (0.5, 2.0)}
ONNX: Range = (0.9, 5.0)
FEW_IMAGES, FEW_IMAGES_GAIN = 16, 2.0
"""With fewer in a call, threads that wait for each other may cost more than they bring."""
GPU: Range = (2.0, 300.0)
"""Against the processor."""


def times(ratio: float) -> str:
    """`3.1`, `0.64`, and below a tenth one figure: `0.002`."""
    return usual_times(ratio) if ratio >= 0.095 else f"{ratio:.1g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    low: float
    high: float
    why: tuple[str, ...]
    """Sentences."""
    slow: bool = False
    """Whether it is likely so slow that its time is capped, and that one is warned."""

    @property
    def words(self) -> str:
        """`0.9 to 5 times`."""
        return f"{times(self.low)} to {times(self.high)} times"

    def holds(self, speedup: float) -> bool:
        return self.low <= speedup <= self.high


def expect(setup: Setup, reference: Setup, machine: Machine) -> Expectation:
    """How fast a cell will be, as a multiple of the reference. A difference of a tenth counts as none."""
    factors: list[tuple[Range, str]] = []
    if setup.runtime == "compile":
        factors.append((COMPILE[setup.work], "torch.compile fuses operations and takes seconds to minutes to start."))
    if setup.runtime == "onnx":
        factors.append((ONNX, "ONNX Runtime fuses operations and has little overhead for each call."))
    if setup.device != reference.device:
        factors.append((GPU, "A GPU has many times the arithmetic of a processor."))
    elif setup.threads != reference.threads and setup.on_cpu:
        share = setup.threads / reference.threads
        most = FEW_IMAGES_GAIN if setup.batch_size < FEW_IMAGES else 1.1
        factors.append(
            ((0.9 * min(share, 1), max(share, 1) * most), "Each thread can use one core; few images gain little.")
        )
    if setup.memory_format != reference.memory_format and setup.runtime != "onnx":
        factors.append((FORMAT, "Convolutions need no reordering in channels last."))
    if setup.precision != reference.precision:
        factors.append(_of_precision(setup, machine))
    low, high = 0.9, 1.1
    for (least, most), _ in factors:
        low, high = low * least, high * most
    return Expectation(low=low, high=high, why=tuple(why for _, why in factors), slow=is_slow(setup, machine))


def is_slow(setup: Setup, machine: Machine) -> bool:
    """Whether the processor has to imitate the arithmetic in float32, which PyTorch does very slowly."""
    return setup.on_cpu and _imitated(setup.precision, machine)


def slow_warning(setup: Setup, machine: Machine) -> str:
    """Empty where there is nothing to warn of."""
    if not is_slow(setup, machine):
        return ""
    return (
        f"{machine.processor} has no instructions for {setup.precision}. PyTorch may take 44 to 499 times as long as in float32. "
        f"Each such cell gets {SLOW_LIMIT_S:g} s to answer."
    )


def _imitated(precision: str, machine: Machine) -> bool:
    if precision == "bfloat16":
        return not machine.has("amx_bf16", "avx512_bf16", "avx512f", "bf16")
    return precision == "float16" and not machine.has("amx_fp16", "avx512_fp16", "asimdhp")


def _of_precision(setup: Setup, machine: Machine) -> tuple[Range, str]:
    precision = setup.precision
    if not setup.on_cpu:
        return _on_gpu(setup, machine)
    if precision == "int8":
        if machine.has("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"):
            return (1.0, 4.5), "The processor multiplies int8 in one step (VNNI or the like)."
        return (0.3, 2.0), "Without VNNI, exact int8 takes several steps."
    if _imitated(precision, machine):
        return EMULATED, f"The processor has no {precision}: PyTorch converts there and back."
    if precision == "bfloat16":
        if machine.has("amx_bf16"):
            return (1.2, 8.0), "AMX multiplies matrices in bfloat16."
        if machine.has("avx512_bf16", "bf16"):
            return (0.8, 3.0), "The processor multiplies bfloat16 in pairs."
        return (0.2, 1.2), "AVX-512 without bfloat16 instructions only moves fewer bytes."
    return (0.7, 4.0), "The processor has float16 arithmetic."


def _on_gpu(setup: Setup, machine: Machine) -> tuple[Range, str]:
    gpu = machine.gpu(setup.device)
    needs = (8, 0) if setup.precision == "bfloat16" else (7, 0)
    if gpu is None or gpu.device == "mps":
        return (0.7, 2.0), "An Apple GPU moves half the bytes."
    if gpu.capability >= needs:
        return (0.9, 8.0), f"Compute capability {gpu.capability[0]}.{gpu.capability[1]} has tensor cores for it."
    return (0.1, 1.2), f"Compute capability {gpu.capability[0]}.{gpu.capability[1]} has no tensor cores for it."
