"""Energy counters, where the system has any: RAPL of a processor, NVML of NVIDIA's GPUs. Neither could be tried where this was
written; where there is none, nothing is said."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


def counter(device: str) -> Callable[[], float | None]:
    """Joules since some moment of the past, of the whole processor or one GPU; None where that cannot be read."""
    return _of_gpu(device) if device.startswith("cuda") else _of_processor() if device == "cpu" else lambda: None


def spent(before: float | None, after: float | None) -> float | None:
    """None where one is missing, or the counter began anew in between."""
    return None if before is None or after is None or after < before else after - before


def _of_processor() -> Callable[[], float | None]:
    # One folder for each package; intel-rapl:0:0 and the like are parts of it.
    files = [
        folder / "energy_uj" for folder in sorted(POWERCAP.glob("intel-rapl:[0-9]*")) if folder.name.count(":") == 1
    ]

    def read() -> float | None:
        with suppress(OSError, ValueError):
            return sum(int(file.read_text()) for file in files) / 1e6 if files else None
        return None

    return read


def _of_gpu(device: str) -> Callable[[], float | None]:
    try:
        import pynvml  # type: ignore[import-not-found, unused-ignore]

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(device.partition(":")[2] or 0))
    except Exception:  # no library, no driver, no such GPU: then there is no counter
        return lambda: None

    def read() -> float | None:
        with suppress(Exception):  # older GPUs have no such counter
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        return None

    return read
