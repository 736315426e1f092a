"""Peak memory of a piece of work, measured in a new process. Linux and macOS."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120.0


def measure_in_process(module: str, *arguments: str) -> int | None:
    """Run `python -m MODULE ARGUMENTS`, which calls `print_peak`; bytes, or None where nothing can be measured."""
    # What a worker tells the allocator (see core.common.devices) would be measured too.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        found = json.loads(done.stdout)["bytes"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) and found > 0 else None


def print_peak(work: Callable[[], object]) -> None:
    """Do it, and print the peak of resident memory, beyond what this process had before, as {"bytes": …}."""
    forget_peak()
    idle = resident_bytes()
    work()
    peak = peak_bytes()
    print(json.dumps({"bytes": None if peak is None else peak - idle}))


def resident_bytes() -> int:
    """Resident memory of this process now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def forget_peak() -> None:
    """Count the peak anew from here, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_bytes() -> int | None:
    """Most resident memory of this process so far."""
    try:
        # Not getrusage on Linux: that keeps the peak of the process that started this one.
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    except OSError:
        if sys.platform != "darwin":
            return None
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
