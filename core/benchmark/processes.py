"""Start the loops as processes, each under the thread policy that is to be measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.common.devices import worker_environment
from core.common.errors import LabError
from core.common.paths import lab_home

POLICY = tuple(worker_environment())


def bare_environment() -> dict[str, str]:
    """The environment of a script that sets nothing."""
    return {name: value for name, value in os.environ.items() if name not in POLICY}


@contextlib.contextmanager
def empty_home() -> Iterator[Path]:
    """A LAB_HOME without runs, with the datasets of this machine. Raises LabError without CIFAR-10."""
    if not (lab_home() / "data" / "cifar10").is_dir():
        raise LabError("CIFAR-10 is not on this machine: fetch it with `python -m core data fetch cifar10`.")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").symlink_to(lab_home() / "data")
        yield Path(folder)


def start(loop: str, seconds: float, environment: dict[str, str], **options: Any) -> subprocess.Popen[str]:
    """Start a loop (see core.benchmark.loops) in a new process."""
    return launch("core.benchmark.loops", [loop, str(seconds), json.dumps(options)], environment)


def launch(module: str, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a module that prints what it measured as JSON."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> Any:
    """What it printed, once it is done. Raises LabError with its last words if it failed."""
    out, err = process.communicate()
    if process.returncode:
        last = (err.strip().splitlines() or ["no output"])[-1]
        raise LabError(
            f"A measured process ended with an error ({last}): are its data here? `python -m core data list` tells."
        )
    return json.loads(out.strip().splitlines()[-1])


def speed(process: subprocess.Popen[str]) -> float:
    """Images or characters per second, once it is done. Raises LabError as `result` does."""
    return float(result(process))


def run(loop: str, seconds: float, environment: dict[str, str] | None = None, **options: Any) -> float:
    """Examples per second of one loop alone, by default under the policy of a worker that has the machine to itself."""
    if environment is None:
        environment = bare_environment() | worker_environment(1)
    return speed(start(loop, seconds, environment, **options))
