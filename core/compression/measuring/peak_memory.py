"""A separate process that loads an ONNX file, answers one random input, and prints how much memory that took.

`python -m core.compression.measuring.peak_memory FILE THREADS 1 3 32 32`: the peak minus what it had with ONNX Runtime imported
and nothing loaded. Started by core.compression.measuring.latency.peak_memory.
"""

from __future__ import annotations

import sys

from core.common.memory import print_peak


def main(file: str, threads: str, *shape: str) -> None:
    import numpy as np
    import onnxruntime as ort

    from core.inference.onnx_network import session_options

    options = session_options(int(threads))
    inputs = np.random.default_rng(0).standard_normal([int(size) for size in shape], dtype=np.float32)

    def answer() -> None:
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        session.run(None, {session.get_inputs()[0].name: inputs})

    print_peak(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
