"""What a processor can do, as the system tells it: read, never guessed from a name. Without torch."""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path

_X86 = ("x86_64", "amd64", "i386", "i686")


def read_flags(cpuinfo: str) -> frozenset[str]:
    """Those that all processors in a /proc/cpuinfo have: x86 calls the line `flags`, Arm `Features`."""
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    sets = [frozenset(line.split()) for line in lines]
    return frozenset.intersection(*sets) if sets else frozenset()


@cache
def processor_flags() -> frozenset[str]:
    """Of this machine; empty where the system has no /proc/cpuinfo."""
    try:
        return read_flags(Path("/proc/cpuinfo").read_text(errors="replace"))
    except OSError:
        return frozenset()


def int8_processor() -> str:
    """This processor, and how it computes int8 in ONNX Runtime here: for figures that depend on it."""
    from core.common.devices import processor_name

    if platform.machine().lower() not in _X86:
        how = f"on {platform.machine()}"
    else:
        how = "without VNNI, exact by slower instructions" if int8_sums_overflow() else "with VNNI"
    return f"{processor_name()}, {how}"


def int8_sums_overflow() -> bool:
    """Whether ONNX Runtime's quick int8 arithmetic may add up in 16 bits here: x86 that is not known to have VNNI."""
    return platform.machine().lower() in _X86 and not processor_flags() & {"avx512_vnni", "avx_vnni"}
