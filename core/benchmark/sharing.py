"""What two PyTorch processes on the same cores cost each other, under this project's thread policy and without it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from core.benchmark import Figure, figure, ratio
from core.benchmark.processes import bare_environment, run, speed, start
from core.common.devices import worker_environment

SECONDS = 8.0


def measure(rounds: int) -> Iterator[Figure]:
    part = "sharing"
    alone: list[float] = []
    plain: list[float] = []
    both: list[float] = []
    bare: list[float] = []
    answered: list[float] = []
    waits: list[float] = []
    for _ in range(rounds):
        alone.append(run("lab", SECONDS, model="simple_cnn"))
        plain.append(run("lab", SECONDS, bare_environment(), model="simple_cnn"))
        both.append(side_by_side(2, bare_environment() | worker_environment(2)))
        bare.append(side_by_side(2, bare_environment()))
        images, latencies = _answering()
        answered.append(images)
        waits.extend(latencies)
    yield figure(part, "one run alone", alone, "images/s")
    yield figure(part, "one run alone, no policy", plain, "images/s")
    yield ratio(part, "one run alone: policy / no policy", alone, plain)
    yield figure(part, "two runs at once, together", both, "images/s")
    yield ratio(part, "two runs at once / one alone", both, alone)
    yield figure(part, "two runs at once, no policy, together", bare, "images/s")
    yield figure(part, "one run while images are classified once a second", answered, "images/s")
    yield ratio(part, "the run while classifying / alone", answered, alone)
    yield figure(part, "answer while a run trains, fast_resnet, six views", waits, "ms")


def side_by_side(count: int, environment: dict[str, str]) -> float:
    """All speeds added, for runs that overlap but for the start. Images/s."""
    processes = [start("lab", SECONDS, environment, model="simple_cnn") for _ in range(count)]
    return sum(speed(process) for process in processes)


def _answering() -> tuple[float, list[float]]:
    """Speed of a run, and the latencies (ms) of a server that classifies once a second beside it."""
    from core.checkpoints.store import load_checkpoint
    from core.inference.images import classify

    checkpoint = load_checkpoint("fast_resnet")
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    classify(checkpoint, image)
    process = start("lab", SECONDS, bare_environment() | worker_environment(1), model="simple_cnn")
    latencies = []
    while process.poll() is None:
        started = time.perf_counter()
        classify(checkpoint, image)
        latencies.append((time.perf_counter() - started) * 1000)
        time.sleep(max(0.0, 1.0 - (time.perf_counter() - started)))
    return speed(process), latencies
