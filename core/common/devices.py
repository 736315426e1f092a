"""Which device to use, how many threads each process may take, and what that means in words.

PyTorch's OpenMP threads spin while they wait, so two processes with a thread per core each fight: on 2 cores a step of
`simple_cnn` went from 15.6 to 42 ms with two runs at once, and to 500 ms with a third program about. Threads are
therefore a policy of the engine, set in the environment before torch is imported.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.common.errors import LabError
from core.common.values import plural

WORKER_SPINS = 3000
"""How often an idle thread of a worker looks for work before it gives its core away: some tens of microseconds, which
bridges the gap to the next small operation. A run of simple_cnn went from 2,900 to 4,200 images/s here, and from 2,900 to
4,000 while a server answered beside it; with the usual 300,000, what shares the machine stands still."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    name: str
    """What torch calls it: `cpu`, `cuda:0`, `mps`."""
    title: str
    """Name for people."""


def cores() -> int:
    """Processor cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def worker_environment(slots: int = 1) -> dict[str, str]:
    """Environment variables for a worker process when `slots` workers may share the machine."""
    threads = max(1, cores() // max(1, slots))
    count = str(threads)
    return {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, **_polite_waiting(WORKER_SPINS), **_kept_memory()}


def prepare_server(threads: int = 1) -> None:
    """Set the same policy for this process, which answers pages beside a run: one thread. Call before importing torch."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("MKL_NUM_THREADS", str(threads))
    for name, value in _polite_waiting(0).items():
        os.environ.setdefault(name, value)


def _polite_waiting(spins: int) -> dict[str, str]:
    # GNU's and LLVM's OpenMP runtimes: a waiting thread gives its core away, at once or after so many looks.
    return {"GOMP_SPINCOUNT": str(spins), "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def _kept_memory() -> dict[str, str]:
    # glibc gives blocks of a few MB back to the system when they are freed, so every step would fault its activations
    # in again, page by page. Keeping them took a step of simple_cnn from 22 to 14 ms of processor time here.
    kept = {"MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_TRIM_THRESHOLD_": 16 << 30, "MALLOC_TOP_PAD_": 256 << 20}
    return {name: str(value) for name, value in kept.items()}


@cache
def fast_bfloat16() -> bool:
    """Whether this processor multiplies matrices in bfloat16 several times as fast as in float32 (Intel's AMX)."""
    import torch

    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("amx_bf16"))


@cache
def nvidia_gpus() -> int:
    """Number of NVIDIA GPUs, without importing torch. 0 where there is no driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([item for item in visible.split(",") if item.strip() not in ("", "-1")])
    listed = Path("/proc/driver/nvidia/gpus")
    if listed.is_dir():
        return len(list(listed.iterdir()))
    if not shutil.which("nvidia-smi"):
        return 0
    import subprocess

    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return len(re.findall(r"^GPU \d+:", found, flags=re.MULTILINE))


def apple_gpu() -> bool:
    """Whether this is a Mac whose GPU torch calls `mps`, without importing torch."""
    import platform

    return platform.system() == "Darwin" and platform.machine() == "arm64"


def likely_device(wanted: str = "auto") -> str:
    """What `pick_device` will say, without importing torch: `auto` is the first GPU, if there is one."""
    if wanted == "auto":
        return "cuda:0" if nvidia_gpus() else "mps" if apple_gpu() else "cpu"
    return "cuda:0" if wanted == "cuda" else wanted


def offered_devices() -> list[str]:
    """What a run may be told to use here, without importing torch."""
    gpus = [f"cuda:{index}" for index in range(nvidia_gpus())] + (["mps"] if apple_gpu() else [])
    return ["auto", *gpus, "cpu"]


def describe_devices() -> list[Device]:
    """All devices torch can use, best first. Imports torch."""
    import torch

    found: list[Device] = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            found.append(Device(name=f"cuda:{index}", title=torch.cuda.get_device_name(index)))
    if torch.backends.mps.is_available():
        found.append(Device(name="mps", title="Apple GPU"))
    found.append(Device(name="cpu", title=f"{processor_name()}, {plural(cores(), 'core')}"))
    return found


def pick_device(wanted: str = "auto") -> str:
    """The device to run on. Raises LabError where the wanted one does not exist. Imports torch."""
    names = [device.name for device in describe_devices()]
    if wanted == "auto":
        return names[0]
    resolved = "cuda:0" if wanted == "cuda" else wanted
    if resolved not in names:
        raise LabError(f"There is no device {wanted!r} on this machine: choose one of auto, {', '.join(names)}.")
    return resolved


def hardware(device: str) -> str:
    """What a card says a result was measured on."""
    title = next((item.title for item in describe_devices() if item.name == device), device)
    if device != "cpu":
        return title
    import torch

    return f"{title}, {plural(torch.get_num_threads(), 'thread')}"


@cache
def processor_name() -> str:
    import platform

    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return re.sub(r"\((R|TM)\)|CPU|Processor", "", line.split(":", 1)[1]).strip().replace("  ", " ")
    except OSError:
        pass
    return platform.processor() or platform.machine() or "CPU"
