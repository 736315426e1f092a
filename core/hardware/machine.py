"""What a machine can do: its processor, its GPUs and what is installed."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, with_config

from core.common.devices import apple_gpu, cores, nvidia_gpus, processor_name
from core.common.processor import processor_flags
from core.common.values import plural

FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "avx512_bf16": "AVX-512 bfloat16",
    "avx512_fp16": "AVX-512 float16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bfloat16",
    "amx_fp16": "AMX float16",
    "asimd": "NEON",
    "asimdhp": "NEON float16",
    "asimddp": "NEON dot products",
    "bf16": "Arm bfloat16",
    "i8mm": "Arm int8 matrix products",
    "sve": "SVE",
}
"""Flags of /proc/cpuinfo that change how fast a network runs, and what they are called."""
Text = Annotated[str, Field(max_length=200)]
T = TypeVar("T")
Count = Annotated[int, Field(ge=0, le=10**18)]


def checked(kind: type[T], values: Any) -> T:
    """A dataclass out of values that anyone may have written. Raises ValueError for what does not fit its fields."""
    return _adapter(kind).validate_python(values)  # type: ignore[arg-type]  # a class can be hashed


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(kind))


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    name: Text
    device: Text
    """`cuda:0` or `mps`."""
    capability: tuple[Count, Count]
    """CUDA compute capability; (0, 0) of an Apple GPU."""
    memory_bytes: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    processor: Text
    cores: Count
    """That this process may use."""
    memory_bytes: Count
    features: tuple[Text, ...]
    """Keys of FLAGS."""
    gpus: tuple[Gpu, ...]
    system: Text
    versions: dict[str, Text]

    def has(self, *names: str) -> bool:
        """Whether the processor has any of these."""
        return any(name in self.features for name in names)

    def gpu(self, device: str) -> Gpu | None:
        return next((gpu for gpu in self.gpus if gpu.device == device or f"{device}:0" == gpu.device), None)

    @property
    def title(self) -> str:
        """`AMD EPYC, 2 cores`, with its GPUs."""
        gpus = "".join(f", {gpu.name}" for gpu in self.gpus)
        return f"{self.processor}, {plural(self.cores, 'core')}{gpus}"

    @property
    def feature_words(self) -> str:
        """`AVX2; no AVX-512, VNNI, bfloat16 or AMX`."""
        have = [FLAGS[name] for name in FLAGS if name in self.features]
        families = {"AVX-512": "avx512", "VNNI": "vnni", "bfloat16": "bf16", "AMX": "amx"}
        lacking = [title for title, part in families.items() if not any(part in name for name in self.features)]
        if self.has("asimd"):
            lacking = [] if self.has("bf16") else ["bfloat16"]
        words = ", ".join(have) or "no vector instructions that we know"
        return words + (f"; no {_joined(lacking)}" if lacking else "")

    @classmethod
    def from_dict(cls, values: Any) -> Machine:
        """Raises ValueError for what is no machine."""
        return checked(cls, values)


def read_machine() -> Machine:
    """This one. Imports torch where there is a GPU, which it knows."""
    import psutil

    from core.checkpoints.store import versions

    return Machine(
        processor=processor_name(),
        cores=cores(),
        memory_bytes=int(psutil.virtual_memory().total),
        features=features_of(processor_flags() or _torch_flags()),
        gpus=_gpus(),
        system=f"{platform.system()} {platform.machine()}",
        versions=versions() | _installed("onnxruntime"),
    )


def features_of(flags: frozenset[str]) -> tuple[str, ...]:
    """Those of FLAGS among a processor's flags, in their order."""
    return tuple(name for name in FLAGS if name in flags)


def _joined(names: list[str]) -> str:
    """`AVX-512, VNNI or AMX`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _torch_flags() -> frozenset[str]:
    """Where the system has no /proc/cpuinfo: torch knows less, and in its own words."""
    import torch

    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    names = {"avx512_f": "avx512f"}
    return frozenset(names.get(name, name) for name, has in known.items() if has is True)


def _gpus() -> tuple[Gpu, ...]:
    if not nvidia_gpus() and not apple_gpu():
        return ()
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(index)
        found.append(
            Gpu(
                name=about.name,
                device=f"cuda:{index}",
                capability=(about.major, about.minor),
                memory_bytes=about.total_memory,
            )
        )
    if torch.backends.mps.is_available():
        found.append(Gpu(name="Apple GPU", device="mps", capability=(0, 0), memory_bytes=0))
    return tuple(found)


def _installed(name: str) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return {name: version(name)}
    except PackageNotFoundError:
        return {}
