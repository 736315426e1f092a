"""Training speed beside the loop every tutorial has and, where TensorFlow happens to be installed, Keras' `fit`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from core.benchmark import Figure, figure, ratio
from core.benchmark.processes import bare_environment, run
from core.common.devices import worker_environment

SECONDS = 6.0
PEAK = """
import time, torch
a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
for _ in range(3): a @ b
best = 0.0
for _ in range(20):
    started = time.perf_counter(); a @ b
    best = max(best, 2 * 2048**3 / (time.perf_counter() - started))
print(best)
"""


def measure(rounds: int) -> Iterator[Figure]:
    part = "training"
    small: dict[str, list[float]] = {"lab": [], "tutorial, 2 loader workers": [], "tutorial, no loader workers": []}
    with_keras = find_spec("tensorflow") is not None
    keras: list[float] = []
    for _ in range(rounds):
        small["lab"].append(run("lab", SECONDS, model="simple_cnn"))
        for workers in (2, 0):
            name = f"tutorial, {workers or 'no'} loader workers"
            small[name].append(run("tutorial", SECONDS, bare_environment(), model="simple_cnn", workers=workers))
        if with_keras:
            keras.append(run("keras", SECONDS, bare_environment()))
    for name, values in small.items():
        yield figure(part, f"simple_cnn, batch 32, Adam: {name}", values, "images/s")
    faster = max(("tutorial, 2 loader workers", "tutorial, no loader workers"), key=lambda name: sum(small[name]))
    yield ratio(part, "simple_cnn: lab / faster tutorial loop", small["lab"], small[faster])
    if with_keras:
        yield figure(part, "simple_cnn, batch 32, Adam: Keras fit", keras, "images/s")
        yield ratio(part, "simple_cnn: lab / Keras fit", small["lab"], keras)
    large: list[float] = []
    theirs: list[float] = []
    peaks: list[float] = []
    for _ in range(rounds):
        peaks.append(_matmul_peak())
        large.append(run("lab", SECONDS, model="fast_resnet", batch_size=500))
        theirs.append(run("tutorial", SECONDS, bare_environment(), model="fast_resnet", batch_size=500))
    operations = _training_operations("fast_resnet")
    yield figure(part, "fast_resnet, batch 500: lab", large, "images/s")
    yield figure(part, "fast_resnet, batch 500: tutorial loop (Adam)", theirs, "images/s")
    yield ratio(part, "fast_resnet: lab / tutorial loop", large, theirs)
    yield figure(part, "float32 matmul peak (2048 x 2048)", [peak / 1e9 for peak in peaks], "GFLOP/s")
    yield ratio(
        part,
        "fast_resnet: share of the matmul peak",
        [speed * operations for speed in large],
        peaks,
        f"{operations / 1e9:.3f} GFLOP a training image (2 per multiply-add), as counted by torch",
    )


def _matmul_peak() -> float:
    environment = bare_environment() | worker_environment(1)
    done = subprocess.run([sys.executable, "-c", PEAK], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _training_operations(model: str) -> float:
    """Floating-point operations of forward and backward for one image, as the recipe runs most of its epochs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from core.models import build_model

    network = build_model(model, {})
    for name in getattr(network, "frozen_after", dict)():
        network.get_parameter(name).requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 3, 32, 32)).sum().backward()
    return counter.get_total_flops() / 2
