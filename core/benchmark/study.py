"""Studies: how a study uses the machine, and how long the quick one takes from its start to its verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from core.benchmark import Figure, figure, ratio
from core.benchmark.processes import bare_environment, empty_home, run
from core.benchmark.sharing import SECONDS, side_by_side
from core.common.devices import cores, worker_environment
from core.common.errors import LabError

PART = "study"


def measure(rounds: int) -> Iterator[Figure]:
    yield from using_cores(rounds)
    yield from quick_study(min(rounds, 2))


def using_cores(rounds: int) -> Iterator[Figure]:
    """A run per core with one thread each, beside one run with all cores."""
    one: list[float] = []
    many: list[float] = []
    for _ in range(rounds):
        one.append(run("lab", SECONDS, model="simple_cnn"))
        many.append(side_by_side(cores(), bare_environment() | worker_environment(cores())))
    yield figure(PART, "simple_cnn, batch 32: one run with all cores", one, "images/s")
    yield figure(PART, f"{cores()} runs with a thread each, together", many, "images/s")
    yield ratio(PART, "a run per core / one run with all cores", many, one)


def quick_study(rounds: int) -> Iterator[Figure]:
    """The study that the form starts with: 5 arms, 3 seeds, simple_cnn, 2,000 images. Raises LabError without CIFAR-10."""
    taken = []
    for _ in range(rounds):
        with empty_home() as folder:
            started = time.perf_counter()
            command = [sys.executable, "-m", "core", "study", "start", "--json"]
            environment = dict(os.environ) | {"LAB_HOME": str(folder)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            taken.append(time.perf_counter() - started)
            if done.returncode:
                raise LabError(
                    f"The quick study ended with an error: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
                )
            json.loads(done.stdout)
    yield figure(PART, "quick study, 15 runs, from the command to the verdict", taken, "s", "aim: at most 300")
