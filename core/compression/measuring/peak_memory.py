"""A process of its own that loads an ONNX file, answers one random input, and prints how much memory that took.

`python -m core.compression.measuring.peak_memory FILE THREADS 1 3 32 32` prints {"bytes": …}: the peak of its resident memory
minus what it had with ONNX Runtime imported and nothing loaded. Linux and macOS; {"bytes": null} elsewhere. Started by
core.compression.measuring.latency.peak_memory.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def main(file: str, threads: str, *shape: str) -> None:
    import numpy as np
    import onnxruntime as ort
    import psutil

    ort.set_default_logger_severity(3)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = int(threads), 1
    inputs = np.random.default_rng(0).standard_normal([int(size) for size in shape], dtype=np.float32)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of importing
    except OSError:
        pass
    idle = psutil.Process().memory_info().rss
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: inputs})
    peak = _peak()
    print(json.dumps({"bytes": None if peak is None else peak - idle}))


def _peak() -> int | None:
    """Most resident memory of this process so far, bytes."""
    try:
        # Not getrusage on Linux: that keeps the peak of the process that started this one.
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    except OSError:
        if sys.platform != "darwin":
            return None
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(*sys.argv[1:])
